"""Intervals by drawing whole prompts: the same as the metrics' own bootstrap, and as wide as they must be."""

import numpy as np
import pytest

from reward_model.evaluation.metrics import bootstrap
from reward_model.evaluation.resampling import Resampling


def test_it_agrees_with_the_bootstrap_of_the_metrics() -> None:
    random = np.random.default_rng(1)
    groups = [f"prompt {number}" for number in random.integers(40, size=150)]
    values, inside = random.normal(size=150), random.random(150) < 0.6
    ours = Resampling(groups, resamples=300).mean(values, inside)
    theirs = bootstrap({"x": lambda weights: float(weights @ (values * inside) / (weights @ inside))}, groups, 300)["x"]
    assert [ours[key] for key in ("value", "low", "high")] == pytest.approx([theirs.value, theirs.low, theirs.high])
    assert ours["battles"] == inside.sum()


def test_slope_is_least_squares_through_the_origin() -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=400)
    y = 0.3 * x + random.normal(size=400)
    slope = Resampling([str(row) for row in range(400)]).slope(y, x)
    assert slope["value"] == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])
    error = np.sqrt(((y - slope["value"] * x) ** 2).sum() / 399 / (x @ x))
    assert slope["high"] - slope["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_copies_of_a_prompt_are_no_evidence() -> None:
    values = np.random.default_rng(3).normal(size=50)
    once = Resampling([str(row) for row in range(50)]).mean(values)
    copied = Resampling([str(row) for row in range(50)] * 10).mean(np.tile(values, 10))
    assert copied["high"] - copied["low"] == pytest.approx(once["high"] - once["low"])


def test_what_cannot_be_known_is_none() -> None:
    drawn = Resampling(["a", "a", "b"])
    assert drawn.mean(np.ones(3), np.zeros(3, bool))["value"] is None
    one = drawn.mean(np.array([1.0, 2.0, 9.0]), np.array([True, True, False]))
    assert one["value"] == 1.5 and one["low"] is None
    assert Resampling([]).mean(np.zeros(0))["value"] is None
