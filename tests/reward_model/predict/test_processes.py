"""Which processes make a prediction, and on which devices."""

import pytest

from arena_data.errors import InputError
from reward_model.predict.processes import Team, device_of, launched_team, processes_wanted


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


def launch(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_ranks_without_a_launcher_are_left_over_from_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    launch(monkeypatch, RANK="1", WORLD_SIZE="2")
    assert launched_team() is None
    launch(monkeypatch, RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
    assert launched_team() == Team(1, 2, launched=True)


@pytest.mark.parametrize(("rank", "size"), [("2", "2"), ("-1", "2"), ("zero", "2"), ("0", "two")])
def test_ranks_that_make_no_sense_are_refused(rank: str, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launch(monkeypatch, RANK=rank, WORLD_SIZE=size, LOCAL_RANK="0")
    with pytest.raises(InputError, match="RANK from 0"):
        launched_team()


@pytest.mark.usefixtures("two_gpus")
def test_a_named_device_is_the_one_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    launch(monkeypatch)
    assert processes_wanted(None, None) == 2
    assert [device_of(Team(rank, 2), None) for rank in range(2)] == ["cuda:0", "cuda:1"]
    for name in ("cpu", "cuda:1"):
        assert processes_wanted(None, name) == 1
        assert processes_wanted(3, name) == 3
        assert [device_of(Team(rank, 3), name) for rank in range(3)] == [name] * 3
    assert [device_of(Team(rank, 2), "cuda") for rank in range(2)] == ["cuda:0", "cuda:1"]
    launch(monkeypatch, RANK="3", WORLD_SIZE="4", LOCAL_RANK="1")
    assert device_of(Team(3, 4, launched=True), None) == "cuda:1"
    assert device_of(Team(3, 4, launched=True), "cpu") == "cpu"
