"""Shards: each sequence is read once, in time, and never waited for."""

import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from arena_data.loading import load_battles
from reward_model.predict.deadline import Deadline
from reward_model.predict.member import Job
from reward_model.predict.processes import Team
from reward_model.predict.scorer import Scorer
from reward_model.predict.shard_store import WorkRemoved
from tests.helpers.predictions import SAMPLE, Clock, predictor, swapped
from tests.helpers.run_directories import PRIOR

BATTLES = 24
SWAP = [1, 0, 2]


def test_each_distinct_sequence_is_scored_once(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, rows: scored.append(len(rows)) or score(self, rows))
    thrice = datasets.concatenate_datasets([battles, swapped(battles), battles])
    predicted = predictor(runs["llama"]).predict(thrice)
    texts = {(tuple(row["prompt"]), tuple(row[side])) for row in battles for side in ("response_a", "response_b")}
    assert sum(scored) == len(texts)
    np.testing.assert_array_equal(predicted[:BATTLES], predicted[2 * BATTLES :])
    np.testing.assert_array_equal(predicted[:BATTLES], predicted[BATTLES : 2 * BATTLES, SWAP])


def test_short_of_time_the_rest_is_read_shorter_and_counted(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    battles = load_battles(SAMPLE)
    clock = Clock()
    forward = Scorer._forward

    def timed(self: Scorer, rows: Any) -> Any:
        clock.now += sum(map(len, rows)) / 1000
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", timed)
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 32)
    whole = predictor(runs["llama"]).run(Job(battles))
    needed = clock.now - 100
    assert not whole.shortened.any()
    for share, all_scored in ((0.8, True), (0.05, False)):
        clock.now = 100.0
        hurried = predictor(runs["llama"]).run(Job(battles, deadline=Deadline(share * needed, clock=clock)))
        assert clock.now - 100 <= share * needed or not all_scored
        assert hurried.shortened.any() or not all_scored
        assert hurried.failed.any() != all_scored
        same = ~hurried.shortened & ~hurried.failed
        np.testing.assert_allclose(hurried.log_probs[same], whole.log_probs[same], atol=1e-4)
        np.testing.assert_allclose(np.exp(hurried.log_probs[hurried.failed]), np.tile(PRIOR, (hurried.failed.sum(), 1)))


def test_shards_that_another_process_leaves_are_taken_over_and_those_it_wrote_are_read(
    runs: dict[str, Path], battles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three processes one is done and one never begins."""
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 8)
    expected = predictor(runs["llama"]).predict(battles)
    folder = tmp_path / "work"
    folder.mkdir()
    scored: list[int] = []
    score = Scorer.score

    predictor(runs["llama"]).work(Job(battles, team=Team(2, 3, launched=True), folder=folder))
    monkeypatch.setattr(Scorer, "score", lambda self, rows: scored.append(len(rows)) or score(self, rows))
    prediction = predictor(runs["llama"]).run(Job(battles, team=Team(0, 3, launched=True), folder=folder))
    np.testing.assert_allclose(prediction.log_probs, expected, atol=1e-5)
    texts = {(tuple(row["prompt"]), tuple(row[side])) for row in battles for side in ("response_a", "response_b")}
    shards = -(-len(texts) // 8)
    assert len(scored) == shards - len(range(2, shards, 3))


def test_a_process_whose_work_folder_is_gone_ends_quietly(
    runs: dict[str, Path], battles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main process removes the folder when the submission is written; nobody may bring it back."""
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 8)
    folder = tmp_path / "work"
    folder.mkdir()
    score = Scorer.score

    def removing(self: Scorer, rows: Any) -> Any:
        shutil.rmtree(folder, ignore_errors=True)
        return score(self, rows)

    monkeypatch.setattr(Scorer, "score", removing)
    with pytest.raises(WorkRemoved):
        predictor(runs["llama"]).work(Job(battles, team=Team(1, 2, launched=True), folder=folder))
    assert not folder.exists()


def test_what_was_read_shorter_for_want_of_time_is_read_again_without_a_limit(
    runs: dict[str, Path], battles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 8)
    clock = Clock()
    forward = Scorer._forward

    def timed(self: Scorer, rows: Any) -> Any:
        clock.now += sum(map(len, rows)) / 1000
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", timed)
    whole = predictor(runs["llama"]).run(Job(battles))
    limit = Deadline(0.7 * (clock.now - 100), 100.0, clock)
    clock.now = 100.0
    folder = tmp_path / "work"
    folder.mkdir()
    assert predictor(runs["llama"]).run(Job(battles, folder=folder, deadline=limit)).shortened.any()
    again = predictor(runs["llama"]).run(Job(battles, folder=folder))
    assert not again.shortened.any()
    np.testing.assert_allclose(again.log_probs, whole.log_probs, atol=1e-5)
