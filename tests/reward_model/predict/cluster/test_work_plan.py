"""A folder's work goes on only with what it was begun with: the same files, models, flags and columns."""

from pathlib import Path

import pytest

from arena_data.errors import InputError
from reward_model.predict.cluster.work_plan import PLAN
from tests.helpers.cluster_work import plan_of
from tests.helpers.made_battles import by_length, write_battles
from tests.helpers.run_directories import make_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_run(tmp_path / "run", kind="bert", max_length=100)
    write_battles(tmp_path / "a.jsonl", by_length(4, 1))
    plan_of(tmp_path).begin()
    return tmp_path


def refused(folder: Path, **changes: object) -> str:
    with pytest.raises(InputError) as error:
        plan_of(folder, **changes).begin()
    assert str(error.value).startswith(f"{folder}/out: the output folder's partitions were scored from other ")
    return str(error.value)


def test_the_same_plan_goes_on(folder: Path) -> None:
    before = (folder / "out" / PLAN).read_bytes()
    plan_of(folder).begin()
    assert (folder / "out" / PLAN).read_bytes() == before
    plan_of(folder, batch_tokens=300, device="cpu").begin()  # how fast it is read, not what comes out


def test_a_changed_input_is_refused(folder: Path) -> None:
    write_battles(folder / "a.jsonl", by_length(4, 3))
    assert f"input ({folder}/a.jsonl has changed or is new)" in refused(folder)


def test_a_further_file_is_refused(folder: Path) -> None:
    write_battles(folder / "b.jsonl", by_length(4, 3))
    assert f"input ({folder}/b.jsonl has changed or is new)" in refused(folder, files=["a.jsonl", "b.jsonl"])


def test_a_changed_model_is_refused_whatever_its_name_says(folder: Path) -> None:
    make_run(folder / "run", kind="bert", max_length=100, seed=5)
    assert f"models ({folder}/run)" in refused(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"style": "off"}, "flags for the models"),
        ({"partition_rows": 9}, "--partition_rows (8)"),
        ({"rewards": True}, "--rewards or --coverage"),
    ],
)
def test_another_flag_is_refused(change: dict[str, object], said: str, folder: Path) -> None:
    assert said in refused(folder, **change)


def test_a_plan_that_is_none_is_refused(folder: Path) -> None:
    (folder / "out" / PLAN).write_text("[]")
    with pytest.raises(InputError, match=r"plan\.json: is broken"):
        plan_of(folder).begin()
