"""Partitions and their index: each battle once, as predict.py says it; a restart scores what is missing and no more."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.json
import pyarrow.parquet
import pytest

from arena_data.errors import InputError
from arena_data.submission import COLUMNS, read_submission
from reward_model.cli import predict
from reward_model.predict.cluster.index import Progress
from reward_model.predict.cluster.work_plan import WorkPlan, column_names
from tests.helpers.cluster_work import plan_of, work_on
from tests.helpers.made_battles import by_length, write_battles
from tests.helpers.run_directories import make_run

BATTLES, PARTITION_ROWS = 20, 8
FILES = ["a.jsonl", "b.parquet"]
REWARDS = ["reward_a", "reward_b", "margin", "tie_strength"]


def battles_plan(folder: Path) -> WorkPlan:
    return plan_of(folder, FILES, partition_rows=PARTITION_ROWS, rewards=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, two files of battles, what predict.py says of them, and all partitions with their index."""
    folder = tmp_path_factory.mktemp("index")
    make_run(folder / "run", kind="bert", max_length=100)
    write_battles(folder / "a.jsonl", by_length(BATTLES, 1))
    table = pyarrow.json.read_json(write_battles(folder / "b.jsonl", by_length(BATTLES, 2)))
    pyarrow.parquet.write_table(table, folder / "b.parquet")
    inputs = [str(folder / name) for name in FILES]
    common = ["--model", str(folder / "run"), "--device", "cpu", "--quiet", "--rewards"]
    assert predict.main([*common, "--input", *inputs, "--output", str(folder / "plain.csv")]) == 0
    work_on(battles_plan(folder)).write_index(column_names(battles_plan(folder), grounded=False))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy whose output may be changed; the inputs stay where they are, since their times tell them apart."""
    shutil.copytree(whole / "out", tmp_path / "out")
    yield whole
    shutil.rmtree(whole / "out")
    shutil.copytree(tmp_path / "out", whole / "out")


def assert_as_plain(folder: Path) -> None:
    ids, probabilities = read_submission(folder / "plain.csv")
    table = pyarrow.parquet.read_table(folder / "out/parts")
    assert table.column("id").to_pylist() == ids  # in the order of the names, battles are in the input's
    values = np.stack([table.column(name).to_numpy() for name in COLUMNS], axis=1)
    assert np.abs(values - probabilities).max() < 1e-6


def test_partitions_hold_what_predict_says_and_the_index_says_where(whole: Path) -> None:
    assert_as_plain(whole)
    index = json.loads((whole / "out/index.json").read_text())
    assert index["rows"] == 2 * BATTLES and index["failed"] == 0
    assert [file["rows"] for file in index["files"]] == [BATTLES, BATTLES]
    assert (
        pyarrow.parquet.read_table(whole / "out/parts").column_names == index["columns"] == ["id", *COLUMNS, *REWARDS]
    )
    for part in index["partitions"]:
        assert pyarrow.parquet.read_table(whole / "out" / part["name"]).num_rows == part["rows"]
    assert [part["first_row"] for part in index["partitions"]] == [1, 9, 17, 1, 9, 17]


def test_a_restart_scores_what_is_missing_or_broken_and_nothing_else(folder: Path) -> None:
    parts = folder / "out/parts"
    before = {str(path): path.stat().st_mtime_ns for path in parts.rglob("*.parquet")}
    broken, gone = parts / "00000/000000.parquet", parts / "00001/000001.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    gone.unlink()
    for name in ("index.json", "files/00000.json", "files/00001.json"):
        (folder / "out" / name).unlink()
    progress = work_on(battles_plan(folder))
    after = {str(path): path.stat().st_mtime_ns for path in parts.rglob("*.parquet")}
    assert {name for name in after if after[name] != before[name]} == {str(broken), str(gone)}
    assert not progress.missing and progress.rows == 2 * BATTLES
    assert_as_plain(folder)


def test_what_is_done_is_not_read_again(whole: Path) -> None:
    assert Progress.of(battles_plan(whole)).missing == []


def test_a_partition_that_is_lost_after_its_file_was_done_is_named(folder: Path) -> None:
    (folder / "out/parts/00001/000002.parquet").unlink()
    progress = Progress.of(battles_plan(folder))
    with pytest.raises(
        InputError, match=r"00001/000002\.parquet: the partition is missing or broken; remove files/00001"
    ):
        progress.write_index([])


def test_an_id_that_two_files_have_is_named_with_both_places(whole: Path, tmp_path: Path) -> None:
    row = '{"id": "%s", "prompt": "a", "response_a": "b", "response_b": "c"}\n'
    shutil.copytree(whole / "run", tmp_path / "run")
    (tmp_path / "a.jsonl").write_text("".join(row % name for name in ("1", "2", "3")))
    (tmp_path / "b.jsonl").write_text("".join(row % name for name in ("4", "3")))
    progress = work_on(plan_of(tmp_path, ["a.jsonl", "b.jsonl"], partition_rows=2))
    with pytest.raises(InputError) as error:
        progress.write_index([])
    said = f"{tmp_path}/b.jsonl, row 2, column 'id': duplicate id, the same as in {tmp_path}/a.jsonl, row 3"
    assert str(error.value).startswith(said)
    assert not (tmp_path / "out/index.json").exists()


def test_battles_that_cannot_be_scored_are_counted_and_have_the_prior(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reward_model.predict.scorer import Scorer

    shutil.copytree(whole / "run", tmp_path / "run")
    write_battles(tmp_path / "a.jsonl", by_length(5, 1))
    monkeypatch.setattr(Scorer, "score", lambda scorer, rows: np.full((len(rows), 2), np.nan, dtype=np.float32))
    progress = work_on(plan_of(tmp_path))
    progress.write_index([])
    assert progress.failed == 5 and json.loads((tmp_path / "out/index.json").read_text())["failed"] == 5
    assert Progress.of(plan_of(tmp_path)).failed == 5  # after a restart too
