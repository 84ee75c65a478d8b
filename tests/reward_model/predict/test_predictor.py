"""Several members are one prediction."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from arena_data.submission import write_submission
from reward_model.cli.flags import PredictionFlags, open_predictor
from tests.helpers.predictions import predictor

BATTLES = 24


def test_several_members_are_pooled(runs: dict[str, Path], battles: Any, tmp_path: Path) -> None:
    one, other = (predictor(runs[name]).predict(battles) for name in ("llama", "bert"))
    file = tmp_path / "other.csv"
    order = np.arange(BATTLES)[::-1]
    write_submission(file, [battles["id"][int(row)] for row in order], np.exp(other[order]))
    flags: dict[str, Any] = {"dtype": "float32", "device": "cpu", "weights": [3.0, 1.0]}
    for pooling, expected in (
        ("logarithmic", log_softmax(0.75 * one + 0.25 * other, axis=1)),
        ("linear", np.log(0.75 * np.exp(one) + 0.25 * np.exp(other))),
    ):
        for second in (runs["bert"], file):
            members = [str(runs["llama"]), str(second)]
            predicted = open_predictor(PredictionFlags(model=members, pooling=pooling, **flags)).predict(battles)
            np.testing.assert_allclose(predicted, expected, atol=1e-6)
            np.testing.assert_allclose(logsumexp(predicted, axis=1), 0, atol=1e-12)
