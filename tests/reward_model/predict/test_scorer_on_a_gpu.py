"""Scoring where memory runs out or the GPU fails: no row is lost, no budget too large, and no failure taken for bad rows.

There is no GPU in the tests: CUDA's counters and errors are played back, the model and the batches are real.
"""

import dataclasses
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reward_model.errors import ModelError
from reward_model.predict.scorer import MEMORY_SHARE, Scorer, is_final, is_out_of_memory
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from tests.helpers.run_directories import make_run

ROWS = [[7 + row, *[9] * (20 + 3 * row)] for row in range(24)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "llama")


def scorer_of(run: Path, **options: Any) -> Scorer:
    loaded = load_run_model(read_run(run), LoadOptions(dtype="float32", device="cpu"))
    return Scorer(loaded, **{"batch_tokens": 4000} | options)


@pytest.mark.parametrize("packing", [True, False])
def test_what_waits_is_cut_for_the_lowered_budget(packing: bool, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = scorer_of(run, packing=packing).score(ROWS)
    scorer = scorer_of(run, packing=packing, batch_tokens=600)
    forward, failures = Scorer._forward, []

    def limited(self: Scorer, rows: Any) -> Any:
        tokens = sum(map(len, rows))
        if tokens > 320:
            failures.append(tokens)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", limited)
    with pytest.warns(UserWarning, match="out of memory"):
        scores = scorer.score(ROWS)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    # One batch of 600 tokens fails; those planned beside it are never tried.
    assert len(failures) == 1 and scorer.batch_tokens <= 300


def test_rows_that_are_too_long_alone_do_not_lower_the_budget_for_ever(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = scorer_of(run, batch_tokens=200)
    forward = Scorer._forward

    def limited(self: Scorer, rows: Any) -> Any:
        if max(map(len, rows)) > 70:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", limited)
    with pytest.warns(UserWarning, match="out of memory"):
        scores = scorer.score(ROWS)
    too_long = np.array([len(row) > 70 for row in ROWS])
    np.testing.assert_array_equal(np.isnan(scores).any(axis=1), too_long)
    assert scorer.batch_tokens >= 35


def test_activations_are_gone_before_memory_is_handed_back(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = scorer_of(run, batch_tokens=600)
    forward = Scorer._forward
    alive: list[weakref.ref[torch.Tensor]] = []
    left_alive: list[bool] = []

    def limited(self: Scorer, rows: Any) -> Any:
        if len(rows) > 3:
            activations = torch.zeros(10)
            alive.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", limited)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left_alive.append(alive[-1]() is not None))
    gc.disable()
    try:
        with pytest.warns(UserWarning, match="out of memory"):
            scorer.score(ROWS)
    finally:
        gc.enable()
    assert left_alive and not any(left_alive)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
)
def test_a_lost_gpu_ends_the_run(error: RuntimeError, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = scorer_of(run)

    def lost(self: Scorer, rows: Any) -> Any:
        raise error

    monkeypatch.setattr(Scorer, "_forward", lost)
    with pytest.raises(ModelError, match=r"the GPU stopped.*goes on from the finished shards") as refusal:
        scorer.score(ROWS)
    assert "\n" not in str(refusal.value)


def test_running_out_of_memory_is_not_the_end() -> None:
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory")):
        assert is_out_of_memory(error) and not is_final(error)
    assert not is_final(RuntimeError("index out of range in self"))


class Memory:
    """CUDA's counters: 10 GB free for the driver, 4 GB freed but kept by PyTorch, 1 MB a token of a probe."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.probe: list[Any] = []
        self.peak = 0
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.peak)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 4 * 10**9)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * 10**9, 80 * 10**9))
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


def on_a_gpu(scorer: Scorer) -> Scorer:
    scorer.loaded = dataclasses.replace(scorer.loaded, device=torch.device("cuda:0"))
    return scorer


@pytest.mark.parametrize("max_length", [100, 3000])
def test_the_budget_is_measured_on_rows_of_full_length(
    max_length: int, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, memory = on_a_gpu(scorer_of(run)), Memory(monkeypatch)

    def measured(self: Scorer, rows: Any) -> Any:
        memory.probe = rows
        memory.peak = 10**6 * sum(map(len, rows))
        return np.zeros((len(rows), 2), dtype=np.float32)

    monkeypatch.setattr(Scorer, "_forward", measured)
    budget = scorer._memory_budget(max_length)
    assert {len(row) for row in memory.probe} == {max_length}
    assert all(one[0] != other[0] for one, other in zip(memory.probe, memory.probe[1:], strict=False))
    assert budget == pytest.approx(MEMORY_SHARE * 14_000, rel=0.01)  # what PyTorch has freed is free


def test_a_probe_that_does_not_fit_leaves_one_row_a_batch(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = on_a_gpu(scorer_of(run))
    Memory(monkeypatch)

    def refused(self: Scorer, rows: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Scorer, "_forward", refused)
    assert scorer._memory_budget(3000) == 3000


def test_no_keys_and_values_are_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = scorer_of(run, packing=False)
    kept: list[Any] = []
    forward = scorer.loaded.model.forward

    def noted(*arguments: Any, **options: Any) -> Any:
        output = forward(*arguments, **options)
        kept.append(output.past_key_values)
        return output

    monkeypatch.setattr(scorer.loaded.model, "forward", noted)
    assert np.isfinite(scorer.score(ROWS)).all()
    assert kept and all(one is None for one in kept)
