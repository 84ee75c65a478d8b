"""The command writes over nothing that it reads: not by a split, a page or an output, whatever the file is called."""

import json
import os
from pathlib import Path

import pytest

from arena_data.__main__ import main
from tests.helpers.small_tables import PLAIN

TEACHER = "id,winner_model_a,winner_model_b,winner_tie\n101,0.2,0.3,0.5\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [row | {"winner": "tie"} for row in PLAIN]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "teacher.csv").write_text(TEACHER)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        ["{0}/train.jsonl", "--split", "{0}"],
        ["{0}/*.jsonl", "--split", "{0}"],
        ["{0}/**/train.jsonl", "--split", "{0}/link"],
        ["{0}/train.jsonl", "--split", "{0}/link"],
        ["{0}/train.jsonl", "--report", "{0}/link/train.jsonl"],
        ["{0}/train.jsonl", "--teacher", "{0}/teacher.csv", "--output", "{0}/train.jsonl"],
        ["{0}/*.jsonl", "--teacher", "{0}/teacher.csv", "--output", "{0}/link/train.jsonl"],
        ["{0}/train.jsonl", "--teacher", "{0}/teacher.csv", "--output", "{0}/x.jsonl", "--report", "{0}/teacher.csv"],
        ["{0}/train.jsonl", "--teacher", "{0}/teacher.csv", "--output", "{0}/a.jsonl", "--report", "{0}/a.jsonl"],
        ["{0}/train.jsonl", "--split", "{0}/new", "--report", "{0}/new/test.jsonl"],
    ],
)
def test_an_output_over_an_input_is_refused(
    options: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "new").mkdir()
    before = {name: (folder / name).read_text() for name in ("train.jsonl", "teacher.csv")}
    assert main([option.format(folder) for option in options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1 and "would overwrite" in error
    assert {name: (folder / name).read_text() for name in before} == before
    assert not os.listdir(folder / "new")


def test_a_split_beside_its_source_is_written(folder: Path) -> None:
    assert main([str(folder / "train.jsonl"), "--split", str(folder / "parts")]) == 0
    assert sorted(os.listdir(folder / "parts")) == ["test.jsonl", "train.jsonl"]
