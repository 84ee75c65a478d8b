"""No command writes over what it reads, nor into a folder that holds something else: one line, exit status 2, no change."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from arena_data.submission import write_submission
from reward_model.__main__ import main
from reward_model.calibration.calibration import Calibration
from tests.helpers.run_directories import make_run

SAMPLE = "arena_data/sample.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, an adapter with its backbone, a baseline, and files of probabilities and verdicts."""
    folder = tmp_path_factory.mktemp("made")
    make_run(folder / "run")
    make_run(folder / "adapter", model_type="adapter")
    ids = [str(number) for number in range(40)]
    write_submission(folder / "P.csv", ids, np.tile([0.5, 0.3, 0.2], (40, 1)))
    write_submission(folder / "Y.csv", ids, np.eye(3)[np.arange(40) % 3])
    (folder / "map.json").write_text(json.dumps(Calibration("temperature", {"temperature": 2.0}).to_json()))
    assert main(["baseline", "prior", "--train_file", SAMPLE, "--output_dir", str(folder / "prior")]) == 0
    (folder / "blend").mkdir(exist_ok=True)
    (folder / "blend" / "blend.json").write_text("{}")
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("years of work")
    (folder / "battles").mkdir()
    shutil.copy(SAMPLE, folder / "battles" / "metrics.json")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("calibrate {0}/run --input {1} --output {0}/run/reward_config.json", "would overwrite"),
        ("calibrate {0}/run --input {0}/Y.csv --output {0}/Y.csv", "would overwrite"),
        ("calibrate {0}/mine --input {1}", "neither a run nor a baseline"),
        ("calibrate --predictions {0}/P.csv --input {0}/Y.csv --output {0}/P.csv", "would overwrite"),
        ("calibrate --predictions {0}/P.csv --input {0}/Y.csv --output {0}/Y.csv", "would overwrite"),
        ("calibrate --predictions {0}/P.csv --input {0}/Y.csv --output {0}/blend/blend.json", "is no calibration"),
        ("calibrate --predictions {0}/P.csv --input {0}/Y.csv --output {0}/mine", "is a directory"),
        ("calibrate --apply {0}/map.json --predictions {0}/P.csv --output {0}/P.csv", "would overwrite"),
        ("calibrate --apply {0}/map.json --predictions {0}/P.csv --output {0}/map.json", "would overwrite"),
        ("blend {0}/P.csv {0}/P.csv --input {0}/Y.csv --output {0}/run", "it is a run"),
        ("blend {0}/P.csv {0}/P.csv --input {0}/Y.csv --output {0}/prior", "it is a baseline"),
        ("blend {0}/P.csv {0}/P.csv --input {0}/Y.csv --output {0}/Y.csv", "it is no folder"),
        ("baseline prior --train_file {1} --output_dir {0}/run", "it is a run"),
        ("baseline prior --train_file {1} --output_dir {0}/blend", "it is a blend"),
        ("baseline prior --train_file {1} --output_dir {0}/P.csv", "it is no folder"),
        ("baseline prior --train_file {0}/battles/metrics.json --output_dir {0}/battles", "would overwrite"),
        ("export {0}/run --output {0}/run", "would overwrite"),
        ("export {0}/adapter --output {0}/adapter-backbone", "would overwrite"),
        ("export {0}/run --output {0}", "would overwrite"),
        ("export {0}/run --output {0}/mine", "holds something else"),
        ("kaggle {0}/run --output {0}/run", "would overwrite"),
        ("kaggle {0}/run --output {0}/mine", "holds something else"),
        ("weights minilm --output {0}/mine", "holds something else"),
        ("weights minilm --output {0}/P.csv", "it is no folder"),
        ("predict --model= --input {1} --output {0}/S.csv", "the name of a model is empty"),
        ("export= --output {0}/S", "no such run directory"),
    ],
)  # fmt: skip
def test_an_output_that_would_harm_is_refused(
    command: str, why: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(made)
    words = [word.format(made, SAMPLE) for word in command.split()]
    # An empty name, as a shell gives for an unset variable.
    given = [part for word in words for part in (word.removesuffix("="), "") if part or word.endswith("=")]
    assert main(given) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "licence" not in line]
    assert len(lines) == 1 and lines[0].startswith("error: ") and why in lines[0], lines
    assert contents(made) == before


def test_a_report_that_is_none_is_refused_before_a_push(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    for content in ({"battles": 3, "quality": 5, "calibration": {}, "audit": None}, [], {"battles": 1}):
        report.write_text(json.dumps(content))
        assert main(["push", str(made / "run"), "--repo", "user/name", "--report", str(report)]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and "is broken" in line


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--model {0}/P.csv --max_length 9 --merge", "--max_length, --merge: no model here is a run"),
        ("--model {0}/prior --style off", "--style off: no model here is a run"),
        ("--model {0}/run --max_length 1", "it must be at least"),
        ("--model {0}/prior --rewards", "leave out --rewards"),
    ],
)
def test_a_prediction_that_is_refused_leaves_no_folder(
    flags: str, why: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = flags.format(made).split()
    assert main(["predict", *words, "--input", SAMPLE, "--output", str(tmp_path / "S.csv"), "--device", "cpu"]) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert why in error and list(tmp_path.iterdir()) == []
