"""`arena-reward compare` prints what the API says, and refuses what it cannot read in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reward_model.__main__ import main
from reward_model.api import RewardModel
from tests.helpers.run_directories import make_run

TEXTS = ("What is 2 + 2?", "4.", "It is five, I think.")


@pytest.mark.parametrize("encoding", ["separate", "joint"])
def test_it_prints_what_the_api_says(encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", encoding=encoding)
    capsys.readouterr()  # DeepSpeed prints when it is imported
    flags = ["--model", str(run), "--device", "cpu", "--dtype", "float32", "--prompt", TEXTS[0]]
    flags += ["--a", TEXTS[1], "--b", TEXTS[2]]
    assert main(["compare", *flags, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    model = RewardModel.from_pretrained(run, device="cpu", dtype="float32")
    assert [printed[name] for name in ("a", "b", "tie")] == pytest.approx(list(model.compare(*TEXTS)), abs=1e-6)
    if encoding == "separate":
        assert printed["reward_a"] == pytest.approx(model.reward(*TEXTS[:2]), abs=1e-6)
    else:
        assert printed["reward_a"] is None
    assert main(["compare", *flags]) == 0
    shown = capsys.readouterr().out
    assert f"{printed['a']:.1%}" in shown and ("reward of A" in shown) == (encoding == "separate")


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--model", str(tmp_path / "none"), "--prompt", "?", "--a", "1", "--b", "2"]
    assert main(["compare", *flags]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "no such run directory" in line


def test_without_a_model_the_style_judge_answers_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arena-style").mkdir()  # a folder of this name does not stand in for the default
    flags = ["--prompt", TEXTS[0], "--a", TEXTS[1], "--b", TEXTS[2]]
    assert main(["compare", *flags, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["judge"] == "arena-style" and printed["reward_note"] == "style alone, not for training"
    assert printed["a"] + printed["b"] + printed["tie"] == pytest.approx(1)
    (tmp_path / "arena-style").rmdir()
    assert list(RewardModel.from_pretrained("arena-style").compare(*TEXTS)) == [
        printed[name] for name in ("a", "b", "tie")
    ]
    assert main(["compare", *flags]) == 0
    assert f"arena-style: {printed['caution']}" in capsys.readouterr().out.splitlines()


def test_the_style_judge_imports_nothing_that_takes_seconds() -> None:
    code = f"""
import sys
from reward_model.__main__ import main
assert main(["compare", "--prompt", {TEXTS[0]!r}, "--a", {TEXTS[1]!r}, "--b", {TEXTS[2]!r}]) == 0
slow = {{"torch", "transformers", "datasets", "pandas", "pyarrow", "joblib", "matplotlib", "sklearn"}}
assert not slow & set(sys.modules), slow & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
