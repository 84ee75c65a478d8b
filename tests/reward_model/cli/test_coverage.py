"""`predict.py --coverage`: the column it writes, where its thresholds come from, and what it refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from arena_data.loading import load_battles
from arena_data.submission import read_submission, write_submission
from reward_model.calibration.calibration import Calibration, fit
from reward_model.calibration.verdict_sets import set_texts, set_thresholds, verdict_sets
from reward_model.cli import predict
from tests.helpers.made_battles import by_length, write_battles
from tests.helpers.run_directories import make_run

RUN = {"kind": "bert", "style": False, "max_length": 100}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with thresholds, one of old without, labelled battles and battles to predict."""
    folder = tmp_path_factory.mktemp("coverage")
    random = np.random.default_rng(0)
    log_probs = np.log(random.dirichlet([1, 1, 1], 200))
    verdicts = np.eye(3)[random.integers(3, size=200)]
    make_run(folder / "run", calibration=fit(log_probs, verdicts, method="temperature"), **RUN)
    make_run(folder / "old", calibration=Calibration("temperature", {"temperature": 2.0}), **RUN)
    write_battles(folder / "labelled.jsonl", by_length(40, 1))
    write_battles(folder / "input.jsonl", by_length(20, 2))
    return folder


def run_predict(folder: Path, *more: str) -> int:
    common = ["--input", str(folder / "input.jsonl"), "--output", str(folder / "out.csv")]
    return predict.main([*common, "--quiet", "--device", "cpu", *more])


def sets_in(file: Path) -> list[str]:
    with file.open() as stream:
        return [row["verdict_set"] for row in csv.DictReader(stream)]


def test_sets_by_the_thresholds_that_calibration_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_predict(folder, "--model", str(folder / "run"), "--coverage", "0.8") == 0
    log_probs = np.log(read_submission(folder / "out.csv")[1])
    kept = json.loads((folder / "run/calibration.json").read_text())["set_thresholds"]
    assert sets_in(folder / "out.csv") == set_texts(verdict_sets(log_probs, kept["80"]))
    assert "verdict sets of 80 %:" in capsys.readouterr().err


def test_sets_by_labelled_battles_that_are_predicted_in_the_same_run(folder: Path) -> None:
    labels = ("--coverage_labels", str(folder / "labelled.jsonl"), "--calibration", "none")
    assert run_predict(folder, "--model", str(folder / "old"), "--coverage", "0.9", *labels) == 0
    kept = load_battles(folder / "labelled.jsonl")
    plain = folder / "labelled.csv"
    arguments = ["--model", str(folder / "old"), "--input", str(folder / "labelled.jsonl"), "--output", str(plain)]
    assert predict.main([*arguments, "--calibration", "none", "--quiet", "--device", "cpu"]) == 0
    thresholds = set_thresholds(np.log(read_submission(plain)[1]), kept["verdict"][:], kept["group"][:])
    expected = verdict_sets(np.log(read_submission(folder / "out.csv")[1]), thresholds["90"] - 1e-6)
    assert sets_in(folder / "out.csv") == set_texts(expected)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "old", "--coverage", "0.9"], "arena-reward calibrate"),
        (["--model", "run", "old", "--coverage", "0.9"], "arena-reward blend"),
        (["--model", "file.csv", "--coverage", "0.9"], "--coverage_labels"),
        (["--model", "run", "--coverage", "0.9", "--max_length", "50"], "--max_length"),
        (["--model", "run", "--coverage", "0.9", "--time_limit", "8h"], "--time_limit"),
        (["--model", "run", "--coverage_labels", "labelled.jsonl"], "--coverage 0.9"),
    ],
)
def test_what_would_not_hold_is_refused_in_one_line_before_a_model_is_loaded(
    folder: Path, flags: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    ids = load_battles("input.jsonl")["id"][:]
    write_submission("file.csv", ids, np.full((len(ids), 3), 1 / 3))
    Path("out.csv").unlink(missing_ok=True)
    assert run_predict(folder, *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and said in error
    assert not Path("out.csv").exists()


@pytest.mark.parametrize("share", ["1", "0.4", "0.905", "90", "-0.9", "x"])
def test_a_coverage_that_is_no_share_is_refused(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        predict.main(["--model", "m", "--input", "i", f"--coverage={share}"])
    assert "expected 0.50 to 0.99" in capsys.readouterr().err
