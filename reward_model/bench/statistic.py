"""Figures of weighted items, and their intervals by a bootstrap over prompts."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from reward_model.evaluation.resampling import INTERVAL, RESAMPLES, draws

FloatArray = npt.NDArray[np.float64]
Figures = dict[tuple[str, str], float]
Statistic = Callable[[FloatArray], Figures]


def weighted_mean(values: npt.ArrayLike, weights: FloatArray) -> float:
    """NaN where no item has a weight."""
    total = float(weights.sum())
    return float(np.asarray(values, np.float64) @ weights) / total if total > 0 else float("nan")


def with_intervals(
    statistic: Statistic, groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, dict[str, Any]]]:
    """Each figure by row and column as {value, low, high}: 95 %, percentiles over draws of whole groups.

    Args:
        statistic: weights float64 [n] to figures.
        groups: [n], equal for items that err together.
    """
    names, group_of_item = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    values = statistic(np.ones(len(groups)))
    sampled: dict[tuple[str, str], list[float]] = {key: [] for key in values}
    for counts in draws(len(names), resamples, seed):
        for key, value in statistic(counts[group_of_item].astype(np.float64)).items():
            sampled[key].append(value)
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for (row, column), value in values.items():
        known = [each for each in sampled[row, column] if np.isfinite(each)]
        low, high = np.percentile(known, INTERVAL) if len(known) > 1 else (None, None)
        table.setdefault(row, {})[column] = {
            "value": value if np.isfinite(value) else None,
            "low": None if low is None else float(low),
            "high": None if high is None else float(high),
        }
    return table
