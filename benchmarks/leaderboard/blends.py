"""The rows of the leaderboard that are made from others' out-of-fold predictions: blends, and maps beside `auto`.

What is fitted for a fold is fitted on the predictions of the other folds, whose prompts it does not share.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.leaderboard.results import FloatArray, Predictions
from reward_model.calibration import calibration
from reward_model.calibration.blending import fit_blend, pool

Folds = list[Predictions]
# What the competition's notebooks do after the fact, and what is done here.
MAPS = ("none", "temperature", "threshold", "multipliers", "auto")


def fitted_blend(members: Mapping[str, Folds]) -> tuple[Folds, dict[str, float]]:
    """Weights, pooling and calibration fitted on the other folds; and the mean weight of each member."""
    names = list(members)
    found: Folds = []
    weights = []
    for fold, first in enumerate(members[names[0]]):
        others = [[folds[other] for other in range(len(folds)) if other != fold] for folds in members.values()]
        raw = [np.concatenate([part.raw for part in parts]) for parts in others]
        verdicts = np.concatenate([part.verdicts for part in others[0]])
        groups = np.concatenate([part.groups for part in others[0]]).tolist()
        blend = fit_blend(raw, verdicts, groups, names, resamples=0)
        here = [folds[fold].raw for folds in members.values()]
        weights.append(blend.weights)
        pooled = pool(here, blend.weights, blend.pooling)
        found.append(_row(first, members, fold, pooled, blend.apply(here)))
    return found, dict(zip(names, np.mean(weights, axis=0).tolist(), strict=True))


def fixed_blend(members: Mapping[str, Folds], weights: Sequence[float], pooling: str = "linear") -> Folds:
    """Weights that somebody set, of calibrated members, as notebooks do."""
    found: Folds = []
    for fold, first in enumerate(next(iter(members.values()))):
        pooled = pool([folds[fold].calibrated for folds in members.values()], weights, pooling)
        found.append(_row(first, members, fold, pooled, pooled))
    return found


def mapped(folds: Folds, method: str) -> Folds:
    """A system's uncalibrated predictions through one map, fitted on the other folds."""

    def fit(fold: int) -> Callable[[FloatArray], FloatArray]:
        others = [part for number, part in enumerate(folds) if number != fold]
        raw, verdicts = (np.concatenate([getattr(part, name) for part in others]) for name in ("raw", "verdicts"))
        groups = np.concatenate([part.groups for part in others]).tolist()
        return calibration.fit(raw, verdicts, groups, method=method).apply

    return [_row(part, {"": folds}, fold, part.raw, fit(fold)(part.raw)) for fold, part in enumerate(folds)]


def _row(
    first: Predictions, members: Mapping[str, Folds], fold: int, raw: FloatArray, calibrated: FloatArray
) -> Predictions:
    """Costs are the sums of the members'. Raises: ValueError for members of different battles."""
    parts = [folds[fold] for folds in members.values()]
    if any(not np.array_equal(part.index, first.index) for part in parts):
        raise ValueError("the members of a blend are of different battles")
    return Predictions(
        raw=raw,
        calibrated=calibrated,
        verdicts=first.verdicts,
        groups=first.groups,
        index=first.index,
        train_seconds=float(sum(part.train_seconds for part in parts)),
        predict_seconds=float(sum(part.predict_seconds for part in parts)),
        size=float(sum(part.size for part in parts)),
    )
