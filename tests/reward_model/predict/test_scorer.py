"""Scores of token ids: no row is lost, whatever fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reward_model.cli.flags import PredictionFlags, open_predictor
from reward_model.errors import ModelError
from reward_model.predict.member import Job
from reward_model.predict.run_member import RunMember
from reward_model.predict.scorer import Scorer
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from reward_model.tokens.encoding import BattleEncoder
from tests.helpers.predictions import predictor
from tests.helpers.run_directories import PRIOR

BATTLES = 24


def test_out_of_memory_lowers_the_budget_for_good(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor(runs["llama"]).predict(battles)
    forward, seen = Scorer._forward, []

    def limited(self: Scorer, rows: Any) -> Any:
        seen.append(len(rows) * max(map(len, rows)))
        if seen[-1] > 800:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, rows)

    monkeypatch.setattr(Scorer, "_forward", limited)
    model = predictor(runs["llama"], batch_tokens=5000)
    with pytest.warns(UserWarning, match="out of memory"):
        prediction = model.run(Job(battles))
    np.testing.assert_allclose(prediction.log_probs, expected, atol=1e-4)
    assert not prediction.failed.any()
    [member] = model.members
    assert isinstance(member, RunMember) and member._scorer is not None
    assert member._scorer.batch_tokens <= 800
    seen.clear()
    model.predict(battles)
    assert max(seen) <= 800


def test_a_row_that_cannot_be_scored_has_the_prior(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor(runs["llama"]).predict(battles)
    run = read_run(runs["llama"])
    tokenizer = load_run_model(run, LoadOptions(device="cpu")).tokenizer
    bad = BattleEncoder(tokenizer, run.config.max_length)(battles)[5]["input_ids_b"]
    forward = Scorer._forward
    for broken in (RuntimeError("this row is cursed"), float("nan")):

        def cursed(self: Scorer, rows: Any, broken: Any = broken) -> Any:
            hit = [list(row) == bad for row in rows]
            if any(hit) and isinstance(broken, RuntimeError):
                raise broken
            return np.where(np.array(hit)[:, None], np.nan, forward(self, rows))

        monkeypatch.setattr(Scorer, "_forward", cursed)
        model = predictor(runs["llama"])
        prediction = model.run(Job(battles))
        assert np.flatnonzero(prediction.failed).tolist() == [5]
        np.testing.assert_allclose(np.exp(prediction.log_probs[5]), PRIOR, atol=1e-6)
        others = np.arange(BATTLES) != 5
        np.testing.assert_allclose(prediction.log_probs[others], expected[others], atol=1e-4)
        if isinstance(broken, RuntimeError):
            assert model.members[0].first_error == "this row is cursed"


def test_bfloat16_moves_probabilities_little(runs: dict[str, Path], battles: Any) -> None:
    for name in ("llama-adapter", "bert"):
        exact = np.exp(predictor(runs[name]).predict(battles))
        half = open_predictor(PredictionFlags(model=[str(runs[name])], dtype="bfloat16", device="cpu"))
        predicted = np.exp(half.predict(battles))
        # Random weights this large make much of little: a trained MiniLM moves by 0.002 at most (docs/LOG.md).
        assert 0 < np.abs(predicted - exact).max() < 0.1


def test_a_model_that_can_score_nothing_is_an_error(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorer, "_forward", lambda self, rows: np.full((len(rows), 2), np.nan))
    with pytest.raises(ModelError, match="not finite in float32"):
        predictor(runs["llama"]).predict(battles)
