"""The command that bundles: what it writes, what it never removes, and what it refuses in one line."""

import json
from pathlib import Path

import pytest

from arena_data.errors import InputError
from reward_model.cli.kaggle import main
from reward_model.publish import kaggle_bundle
from reward_model.publish.kaggle_bundle import bundle
from tests.helpers.run_directories import make_run


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles without pip, which takes long; the notebook's test has the wheels."""
    monkeypatch.setattr(kaggle_bundle, "download", lambda *arguments: [])
    monkeypatch.setattr(kaggle_bundle, "hashed_requirements", lambda *arguments: "")


@pytest.mark.usefixtures("no_wheels")
def test_only_what_a_bundle_has_written_is_ever_removed(tmp_path: Path) -> None:
    run, output = str(make_run(tmp_path / "first-run")), tmp_path / "b"
    bundle([run], str(output))
    (output / "letters").mkdir()
    (output / "letters" / "thesis.txt").write_text("years of work")
    (output / "plan.txt").write_text("mine")
    bundle([str(make_run(tmp_path / "second-run"))], str(output))
    assert sorted(path.name for path in output.iterdir()) == ["letters", "notebook", "plan.txt", "second-run"]
    assert (output / "letters" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match=r"letters.*is in the way"):
        (output / "letters").rename(output / "letters-home")
        bundle([run], str(output), slug="letters-home")
    assert (output / "letters-home" / "thesis.txt").is_file() and (output / "second-run" / "bundle.json").is_file()
    # A folder that merely is called as one of ours marks nothing.
    (tmp_path / "mine" / "notebook").mkdir(parents=True)
    (tmp_path / "mine" / "photos").mkdir()
    with pytest.raises(InputError, match="is no bundle"):
        bundle([run], str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "photos").is_dir()


@pytest.mark.usefixtures("no_wheels")
def test_a_bundle_that_fails_leaves_the_old_one_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, output = str(make_run(tmp_path / "the-run")), tmp_path / "b"
    bundle([run], str(output))
    before = {path: path.stat().st_ino for path in output.rglob("*")}
    with monkeypatch.context() as patched:

        def full(source: Path, target: Path) -> None:
            raise OSError("No space left on device")

        patched.setattr(kaggle_bundle, "_place", full)
        with pytest.raises(OSError, match="No space left"):
            bundle([run], str(output))
    assert {path: path.stat().st_ino for path in output.rglob("*")} == before
    assert [path.name for path in bundle([run], str(output))] == ["the-run"]


@pytest.mark.usefixtures("no_wheels")
def test_kaggle_takes_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, output = str(make_run(tmp_path / "the-run")), str(tmp_path / "b")
    capsys.readouterr()
    for flags, message in (
        (["--name", "short"], "'short'; expected 6 to 50 lower-case letters"),
        (["--name", "n" * 51], "is no name for a Kaggle dataset"),
        (["--name", "Upper-Case"], "is no name for a Kaggle dataset"),
        (["--user", "some one"], "is no user name on Kaggle; found 'some one'"),
    ):
        assert main([run, "--output", output, *flags]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert main([run, "--output", output, "--user", "Some-One", "--name", "a-name"]) == 0
    metadata = json.loads((tmp_path / "b" / "notebook" / "kernel-metadata.json").read_text())
    assert metadata["machine_shape"] == "NvidiaTeslaT4" and metadata["id"] == "Some-One/a-name-submit"
    assert metadata["dataset_sources"] == ["Some-One/a-name"]
    assert json.loads((tmp_path / "b" / "a-name" / "bundle.json").read_text())["python"] == ["3.12", "3.13"]


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--output", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "b").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main([str(make_run(tmp_path / "run")), "--output", str(tmp_path / "mine")]) == 2
    assert "holds something else" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path / "run"), "--output", str(tmp_path / "b"), "--", "--no_such_flag"])
