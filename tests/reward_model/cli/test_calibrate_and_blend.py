"""`calibrate` and `blend` as a person runs them: on CSV files, on a run directory, on a baseline, and on bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from arena_data.loading import load_battles
from arena_data.submission import COLUMNS, align, read_submission, write_submission
from reward_model.__main__ import main
from reward_model.calibration.blending import Blend, fit_blend, pool
from reward_model.calibration.calibration import Calibration
from reward_model.cli import predict
from reward_model.evaluation.probabilities import log_loss
from tests.helpers.made_battles import write_sample
from tests.helpers.run_directories import make_run

ROWS = 600


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Y.csv, two members' CSV files, one too sure, and one of noise, in another order of rows than Y."""
    folder = tmp_path_factory.mktemp("csv")
    generator = np.random.default_rng(0)
    one, two, noise = generator.normal(0, 1, (3, ROWS, 3))
    truth = np.exp(log_softmax(one + two, axis=1))
    verdicts = np.eye(3)[(generator.random((ROWS, 1)) > truth.cumsum(axis=1)[:, :2]).sum(axis=1)]
    ids = [f"battle {row}" for row in range(ROWS)]
    write_submission(folder / "Y.csv", ids, verdicts)
    for name, logits in (("one", 2.5 * one), ("two", two), ("noise", noise)):
        write_submission(folder / f"{name}.csv", ids[::-1], np.exp(log_softmax(logits, axis=1))[::-1])
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty battles of the sample, with their verdicts."""
    path = tmp_path_factory.mktemp("battles") / "labelled.csv"
    write_sample(path, 60)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crooked = Calibration("temperature", {"temperature": 0.2})
    return make_run(tmp_path_factory.mktemp("runs") / "tiny", calibration=crooked, max_length=128)


def run_command(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments])


def log_probs_in(path: Path) -> tuple[list[str], np.ndarray]:
    ids, probabilities = read_submission(path)
    return ids, np.log(np.maximum(probabilities, 1e-12))


def test_calibrating_files_end_to_end(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted, mapped = tmp_path / "calibration.json", tmp_path / "Q.csv"
    assert (
        run_command("calibrate", "--predictions", files / "one.csv", "--input", files / "Y.csv", "--output", fitted)
        == 0
    )
    calibration = Calibration.from_json(json.loads(fitted.read_text()))
    assert calibration.rows == ROWS and calibration.folds == 5
    said = capsys.readouterr().out
    assert f"{calibration.log_loss_before:.4f} before and {calibration.log_loss_after:.4f} after" in said
    assert run_command("calibrate", "--apply", fitted, "--predictions", files / "one.csv", "--output", mapped) == 0
    ids, after = log_probs_in(mapped)
    given, before = log_probs_in(files / "one.csv")
    assert ids == given
    np.testing.assert_allclose(np.exp(after), np.exp(calibration.apply(before)), atol=1e-8)
    verdicts = read_submission(files / "Y.csv")[1][::-1]
    # A member that is 2.5 times too sure is worth a lot more when it is told so.
    assert log_loss(after, verdicts) < log_loss(before, verdicts) - 0.2


def test_asking_for_a_map(files: Path, tmp_path: Path) -> None:
    common = (
        "calibrate",
        "--predictions",
        files / "one.csv",
        "--input",
        files / "Y.csv",
        "--output",
        tmp_path / "c.json",
    )
    for method in ("temperature", "vector"):
        assert run_command(*common, "--method", method) == 0
        assert json.loads((tmp_path / "c.json").read_text())["method"] == method


def test_fractions_and_certainty_are_taken(tmp_path: Path) -> None:
    header = ",".join(("id", *COLUMNS))
    (tmp_path / "Y.csv").write_text(f"{header}\na,0.5,0.25,0.25\nb,0,1,0\nc,0,0,1\nd,1,0,0\n")
    (tmp_path / "P.csv").write_text(f"{header}\nd,0,1,0\nc,0,0,1\nb,0.2,0.3,0.5\na,1,0,0\n")
    target = tmp_path / "c.json"
    assert (
        run_command("calibrate", "--predictions", tmp_path / "P.csv", "--input", tmp_path / "Y.csv", "--output", target)
        == 0
    )
    applied = tmp_path / "Q.csv"
    assert run_command("calibrate", "--apply", target, "--predictions", tmp_path / "P.csv", "--output", applied) == 0
    assert np.isfinite(read_submission(applied)[1]).all()


def test_blending_files_end_to_end(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = [files / f"{name}.csv" for name in ("one", "two", "noise")]
    assert (
        run_command("blend", *members, "--input", files / "Y.csv", "--output", tmp_path / "B", "--resamples", 20) == 0
    )
    blend = Blend.from_json(json.loads((tmp_path / "B" / "blend.json").read_text()))
    assert blend.members == tuple(map(str, members))
    assert blend.pooling == "logarithmic" and blend.weights[2] < 0.1
    # Logits of the first are 2.5 times those of the second.
    assert blend.weights[1] / blend.weights[0] == pytest.approx(2.5, abs=0.8)
    assert "log loss" in capsys.readouterr().out
    verdicts = read_submission(files / "Y.csv")[1]
    alone = [log_loss(log_probs_in(member)[1][::-1], verdicts) for member in members]
    assert blend.log_loss["logarithmic"] < min(alone) - 0.1


def test_a_blend_of_one_file_with_itself_is_that_file(files: Path, tmp_path: Path) -> None:
    for name, members in (("once", ["two.csv"]), ("twice", ["two.csv", "two.csv"])):
        paths = [files / member for member in members]
        assert (
            run_command("blend", *paths, "--input", files / "Y.csv", "--output", tmp_path / name, "--resamples", 0) == 0
        )
    once, twice = (Blend.from_json(json.loads((tmp_path / n / "blend.json").read_text())) for n in ("once", "twice"))
    _, log_probs = log_probs_in(files / "two.csv")
    np.testing.assert_allclose(twice.apply([log_probs] * 2), once.apply([log_probs]), atol=1e-6)


def test_weights_by_hand_and_relative_members(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    assert (
        run_command("blend", "one.csv", "two.csv", "--input", "Y.csv", "--output", "B", "--weights", "0.2", "0.8") == 0
    )
    stored = json.loads(Path("B/blend.json").read_text())
    assert stored["weights"] == pytest.approx([0.2, 0.8]) and stored["intervals"] == []
    assert stored["members"] == ["../one.csv", "../two.csv"]


def test_out_of_fold_files_take_the_place_of_members(files: Path, tmp_path: Path, run: Path) -> None:
    folds = [files / "one.csv", files / "two.csv"]
    common = ("blend", run, files / "noise.csv", "--input", files / "Y.csv", "--output", tmp_path, "--resamples", 0)
    assert run_command(*common, "--out_of_fold", *folds) == 0
    blend = Blend.from_json(json.loads((tmp_path / "blend.json").read_text()))
    assert blend.members == (str(run), str(files / "noise.csv"))
    assert blend.weights[1] > 0.5  # those of `two`, not of `noise`
    # The run's own calibration is part of what it will predict.
    calibration = Calibration.from_json(json.loads((run / "calibration.json").read_text()))
    assert calibration.method != "none"
    ids, one = log_probs_in(files / "one.csv")
    two = log_probs_in(files / "two.csv")[1]
    verdicts = align(ids, *read_submission(files / "Y.csv"), files / "Y.csv")
    by_hand = fit_blend([calibration.apply(one), two], verdicts, ids, pooling=blend.pooling, resamples=0)
    assert blend.weights == pytest.approx(by_hand.weights, abs=1e-4)


def test_a_run_calibrated_anew_and_blended_predicts_as_its_parts_say(
    run: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, plain = tmp_path / "raw.csv", tmp_path / "plain.csv"
    device = ("--device", "cpu")
    options = ["--input", str(labelled), "--quiet", *device]
    assert predict.main(["--model", str(run), "--output", str(raw), "--calibration", "none", *options]) == 0
    assert run_command("calibrate", run, "--input", labelled, *device) == 0
    calibration = Calibration.from_json(json.loads((run / "calibration.json").read_text()))
    assert calibration.rows == 60
    battles = load_battles(labelled)
    verdicts = np.asarray(list(battles["verdict"]))
    assert calibration.log_loss_before == pytest.approx(log_loss(log_probs_in(raw)[1], verdicts), abs=1e-6)
    assert predict.main(["--model", str(run), "--output", str(plain), *options]) == 0
    np.testing.assert_allclose(read_submission(plain)[1], np.exp(calibration.apply(log_probs_in(raw)[1])), atol=1e-6)

    # A blend of the run and a file, in a folder beside them, as predict.py uses it.
    other = tmp_path / "other.csv"
    shares = np.random.default_rng(0).dirichlet([3, 3, 3], 60)
    write_submission(other, list(battles["id"]), shares)
    folder = tmp_path / "B"
    assert run_command("blend", run, other, "--input", labelled, "--output", folder, "--resamples", 0, *device) == 0
    blend = Blend.from_json(json.loads((folder / "blend.json").read_text()))
    assert blend.rows == 60
    blended = tmp_path / "blended.csv"
    assert predict.main(["--model", str(folder), "--output", str(blended), *options]) == 0
    members = [log_probs_in(plain)[1], log_probs_in(other)[1]]
    np.testing.assert_allclose(read_submission(blended)[1], np.exp(blend.apply(members)), atol=1e-6)
    assert predict.main(["--model", str(folder), "--output", str(blended), "--calibration", "none", *options]) == 0
    unmapped = pool([log_probs_in(raw)[1], log_probs_in(other)[1]], blend.weights, blend.pooling)
    np.testing.assert_allclose(read_submission(blended)[1], np.exp(unmapped), atol=1e-6)
    capsys.readouterr()

    # Rewards of a blend are on no scale, a blend is no member, and one that is gone is said.
    assert predict.main(["--model", str(folder), "--output", str(blended), "--rewards", *options]) == 2
    assert run_command("blend", folder, other, "--input", labelled, "--output", tmp_path / "C") == 2
    assert run_command("calibrate", folder, "--input", labelled) == 2
    other.unlink()
    assert predict.main(["--model", str(folder), "--output", str(blended), *options]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 4
    assert "is a blend" in said[1] and "is a blend" in said[2] and "other.csv" in said[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrate", "--predictions", "nowhere.csv", "--input", "Y.csv", "--output", "c.json"], "nowhere.csv"),
        (["calibrate", "--predictions", "one.csv", "--input", "broken.csv", "--output", "c.json"], "sum to 1"),
        (["calibrate", "--predictions", "short.csv", "--input", "Y.csv", "--output", "c.json"], "ids are missing"),
        (["calibrate", "--predictions", "one.csv", "--input", "empty.csv", "--output", "c.json"], "no rows"),
        (["calibrate", "--apply", "broken.json", "--predictions", "one.csv", "--output", "q.csv"], "broken.json"),
        (["calibrate", "--apply", "nowhere.json", "--predictions", "one.csv", "--output", "q.csv"], "nowhere.json"),
        (["calibrate", "nowhere", "--input", "Y.csv"], "nowhere"),
        (["calibrate", ".", "--input", "Y.csv"], "neither a run nor a baseline"),
        (["blend", "one.csv", "nowhere.csv", "--input", "Y.csv", "--output", "b"], "nowhere.csv"),
        (["blend", "one.csv", "short.csv", "--input", "Y.csv", "--output", "b"], "ids are missing"),
        (["blend", "one.csv", "two.csv", "--input", "Y.csv", "--output", "b", "--weights", "1"], "1 weights for 2"),
        (["blend", "one.csv", ".", "--input", "Y.csv", "--output", "b"], "rows without texts"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], message: str, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    header = ",".join(("id", *COLUMNS))
    Path("broken.csv").write_text(f"{header}\na,0.5,0.5,0.5\n")
    Path("empty.csv").write_text(f"{header}\n")
    Path("short.csv").write_text(f"{header}\nbattle 0,1,0,0\n")
    Path("broken.json").write_text('{"method": "isotonic", "parameters": {}}')
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("error: ") and message in said[0]
    assert not Path("c.json").exists() and not Path("b").exists() and not Path("q.csv").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["calibrate"],
        ["calibrate", "--input", "Y.csv"],
        ["calibrate", "run", "--input", "Y.csv", "--predictions", "P.csv"],
        ["calibrate", "--apply", "c.json", "--predictions", "P.csv", "--input", "Y.csv", "--output", "Q.csv"],
        ["blend", "one.csv", "--input", "Y.csv", "--output", "b", "--out_of_fold", "a.csv", "b.csv"],
        ["blend"],
    ],
)
def test_flags_that_do_not_fit_together(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
