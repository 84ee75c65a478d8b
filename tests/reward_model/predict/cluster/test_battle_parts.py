"""A file of battles in parts: the same battles as `load_battles` reads, whatever the size of a part."""

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from reward_model.predict.cluster.battle_parts import PART_SCHEMA, parts_of, read_parts, unpacked
from reward_model.predict.cluster.folder import Folder
from reward_model.predict.cluster.work_plan import WorkPlan
from tests.helpers.made_battles import by_length, write_battles

BATTLES = 25


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two files without ids, whose rows are named by file and row."""
    return [write_battles(tmp_path / f"{seed}.jsonl", by_length(BATTLES, seed)) for seed in (1, 2)]


def plan_of(files: list[str], rows: int, folder: str = "/nowhere") -> WorkPlan:
    task: Any = None  # reading knows of no model
    return WorkPlan(Folder(folder), task, files, [{}] * len(files), rows, models="")


@pytest.mark.parametrize("rows", [1, 5, 7, BATTLES - 1, BATTLES, BATTLES + 1, 1000])
def test_parts_joined_are_the_battles_of_the_file(files: list[str], rows: int) -> None:
    plan = plan_of(files, rows)
    tables = []
    for file in range(2):
        parts = list(parts_of(plan, file))
        assert [part.number for part in parts] == list(range(-(-BATTLES // rows)))
        assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
        assert all(part.battles.num_rows == rows for part in parts[:-1])
        assert [part.first_row for part in parts] == list(range(1, BATTLES + 1, rows))
        tables += [part.battles for part in parts]
    assert pa.concat_tables(tables).to_pylist() == load_battles(files).to_list()


def test_a_file_without_battles_has_one_part_without_rows(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("id,prompt,response_a,response_b\n")
    [part] = parts_of(plan_of([str(tmp_path / "empty.csv")], 10), 0)
    assert part.is_last and part.battles.num_rows == 0


def test_a_reading_task_gives_a_row_a_part_that_holds_its_battles(
    files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = plan_of(files, 10, str(tmp_path / "out"))
    rows = [table.to_pylist() for table in read_parts(pa.table({"file": [1]}), plan)]
    assert [len(row) for row in rows] == [1, 1, 1] and set(rows[0][0]) == set(PART_SCHEMA.names)
    assert [row["parts"] for [row] in rows] == [0, 0, 3]  # the last part says how many there are
    battles = [battle["id"] for [row] in rows for battle in unpacked(row["battles"]).to_pylist()]
    assert battles == [f"1-{row}" for row in range(1, BATTLES + 1)]


def test_a_bad_row_is_named_by_file_and_row_as_everywhere(files: list[str]) -> None:
    lines = Path(files[1]).read_text().splitlines()
    Path(files[1]).write_text("\n".join([*lines[:12], '{"prompt": ', *lines[13:]]))
    with pytest.raises(InputError) as as_file:
        load_battles(files)
    with pytest.raises(InputError) as as_parts:
        list(parts_of(plan_of(files, 4), 1))
    assert str(as_parts.value) == str(as_file.value) and as_parts.value.row == 13


def test_another_version_of_the_package_on_a_machine_is_refused(files: list[str]) -> None:
    plan = dataclasses.replace(plan_of(files, 10), code="0.0.1 other")
    with pytest.raises(ValueError, match="another arena-reward-model"):
        next(read_parts(pa.table({"file": [0]}), plan))
