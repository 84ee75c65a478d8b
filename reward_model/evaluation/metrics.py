"""How good predicted probabilities are: each figure with a bootstrap interval, resampled by prompt.

Battles of one prompt are no independent evidence, so whole prompts are drawn with replacement; every figure is a
statistic of how often each row was drawn, and all of them see the same draws. Intervals are percentiles of the draws.
Those of the calibration errors are moved, on the scale of squares, so that the draws' mean lies on the figure: a draw
repeats rows, which looks like miscalibration and which debiasing, made for rows that differ, does not take off.

Verdicts may be soft; a row then counts for A, B and tie by its shares.

Source: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", sections 13.3 (percentiles) and 10.3 (bias); Brier
(1950); Hanley & McNeil (1982) for the AUC.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from reward_model.evaluation.probabilities import (
    FloatArray,
    check_groups,
    check_log_probs,
    check_verdicts,
    group_numbers,
    row_losses,
)
from reward_model.evaluation.reliability import (
    BINS,
    CLASSES,
    Statistic,
    classwise_squared_error,
    equal_bins,
    reliability_curve,
    top_label_squared_error,
)
from reward_model.evaluation.resampling import INTERVAL, RESAMPLES, draws

SWAP = (1, 0, 2)


@dataclass(frozen=True)
class Measured:
    """A figure and its 95 % interval; all nan where it is not defined, such as the precision of ties never predicted.

    Battles of one prompt alone have figures without an interval.
    """

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Numbers, None for nan."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(figure) else figure for name, figure in figures.items()}


def _mean(values: FloatArray) -> Statistic:
    return lambda weights: float(weights @ values / weights.sum())


def _ratio(above: FloatArray, below: FloatArray) -> Statistic:
    def statistic(weights: FloatArray) -> float:
        total = weights @ below
        return float(weights @ above / total) if total > 0 else math.nan

    return statistic


def _log_loss(log_probs: FloatArray, verdicts: FloatArray) -> Statistic:
    return _mean(row_losses(log_probs, verdicts))


def _accuracy(log_probs: FloatArray, verdicts: FloatArray) -> Statistic:
    return _mean(verdicts[np.arange(len(verdicts)), log_probs.argmax(axis=1)])


def _brier_score(log_probs: FloatArray, verdicts: FloatArray) -> Statistic:
    return _mean(((np.exp(log_probs) - verdicts) ** 2).sum(axis=1))


def _tie_precision(log_probs: FloatArray, verdicts: FloatArray) -> Statistic:
    predicted = (log_probs.argmax(axis=1) == 2).astype(np.float64)
    return _ratio(predicted * verdicts[:, 2], predicted)


def _tie_recall(log_probs: FloatArray, verdicts: FloatArray) -> Statistic:
    predicted = (log_probs.argmax(axis=1) == 2).astype(np.float64)
    return _ratio(predicted * verdicts[:, 2], verdicts[:, 2])


def _auc(log_probs: FloatArray, verdicts: FloatArray) -> Statistic:
    # By the margin alone: a battle is no likelier to go to A for being less likely to be a tie.
    return _auc_of(log_probs[:, 0] - log_probs[:, 1], verdicts[:, 0], verdicts[:, 1])


def _auc_of(scores: FloatArray, positive: FloatArray, negative: FloatArray) -> Statistic:
    """How often a positive row's score is above a negative one's; rows count for both by their shares."""
    rank = np.unique(scores, return_inverse=True)[1]

    def statistic(weights: FloatArray) -> float:
        above, below = (np.bincount(rank, weights=weights * share) for share in (positive, negative))
        pairs = above.sum() * below.sum()
        return float(above @ (np.cumsum(below) - below / 2) / pairs) if pairs > 0 else math.nan

    return statistic


def _top_label(log_probs: FloatArray, verdicts: FloatArray) -> Statistic:
    return top_label_squared_error(np.exp(log_probs), verdicts)


def _classwise(log_probs: FloatArray, verdicts: FloatArray) -> Statistic:
    return classwise_squared_error(np.exp(log_probs), verdicts)


STATISTICS: dict[str, Callable[[FloatArray, FloatArray], Statistic]] = {
    "log_loss": _log_loss,
    "accuracy": _accuracy,
    "brier_score": _brier_score,
    "top_label_calibration_error": _top_label,
    "classwise_calibration_error": _classwise,
    "tie_precision": _tie_precision,
    "tie_recall": _tie_recall,
    "auc_a_against_b": _auc,
}
# Computed as squares, given as roots.
_ROOTS = ("top_label_calibration_error", "classwise_calibration_error")


def measure(
    log_probs: npt.ArrayLike,
    verdicts: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    names: Sequence[str] = tuple(STATISTICS),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Measured]:
    """Figures by name.

    Args:
        log_probs: float [n, 3], log P(A), log P(B), log P(tie); normalised here.
        verdicts: float [n, 3], one-hot or soft.
        groups: [n], rows of one group (one prompt) are drawn together; None: every row is its own group.
        names: of `STATISTICS`: log_loss in nats, brier_score from 0 to 2, the others from 0 to 1. tie_precision and
            tie_recall are of "tie is the likeliest"; auc_a_against_b is how often a battle won by A has a larger margin
            than one won by B; calibration errors are roots of debiased squares, see `reward_model.evaluation.reliability`.
        resamples: 0 gives intervals of nan.
        seed: of the draws.

    Raises: ValueError for an unknown name, or rows that do not fit together.
    """
    if unknown := [name for name in names if name not in STATISTICS]:
        raise ValueError(f"unknown metric {unknown[0]!r}; expected one of {', '.join(STATISTICS)}")
    checked = log_softmax(check_log_probs(log_probs), axis=1)
    targets = check_verdicts(verdicts, len(checked))
    statistics = {name: STATISTICS[name](checked, targets) for name in names}
    return bootstrap(statistics, check_groups(groups, len(checked)), resamples, seed)


def both_bad_auc(
    predicted: npt.ArrayLike,
    both_bad: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Measured:
    """How often a battle whose two responses are said to be bad has a larger P(both bad) than another.

    Args:
        predicted: float [n], P(both bad).
        both_bad: float [n], the share of votes that said so.
        groups, resamples, seed: as for `measure`.
    """
    scores, shares = np.asarray(predicted, dtype=np.float64), np.asarray(both_bad, dtype=np.float64)
    statistics = {"both_bad_auc": _auc_of(scores, shares, 1 - shares)}
    return bootstrap(statistics, check_groups(groups, len(scores)), resamples, seed)["both_bad_auc"]


def measure_swaps(
    log_probs: npt.ArrayLike,
    swapped: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Measured]:
    """How much the order of A and B matters to a model; both figures are 0 for one that is swap-exact.

    Args:
        log_probs: float [n, 3] of the battles as they are.
        swapped: float [n, 3] of the same battles with A and B exchanged, in the model's own columns.
        groups, resamples, seed: as for `measure`.

    Returns:
        swap_distance: the mean total variation distance, 0 to 1, of the two distributions, one turned back;
        swap_flips: the share of battles whose likeliest verdict changes.

    Raises: ValueError for rows that do not fit together.
    """
    there = log_softmax(check_log_probs(log_probs), axis=1)
    back = log_softmax(check_log_probs(swapped)[:, SWAP], axis=1)
    if there.shape != back.shape or not len(there):
        raise ValueError(f"{len(back)} swapped battles for {len(there)} battles; expected the same, at least one")
    distance = np.abs(np.exp(there) - np.exp(back)).sum(axis=1) / 2
    # A verdict as likely as the likeliest is not a flip: which of two equals comes first depends on the order alone.
    top, other = there.argmax(axis=1), back.argmax(axis=1)
    rows = np.arange(len(there))
    flips = ((there[rows, top] > there[rows, other]) | (back[rows, other] > back[rows, top])).astype(np.float64)
    statistics = {"swap_distance": _mean(distance), "swap_flips": _mean(flips)}
    return bootstrap(statistics, check_groups(groups, len(there)), resamples, seed)


@dataclass(frozen=True)
class CurvePoint:
    """One bin of a reliability curve: mean prediction, mean outcome with its interval, and the number of battles."""

    predicted: float
    observed: Measured
    battles: int


def measure_reliability(
    log_probs: npt.ArrayLike,
    verdicts: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    bins: int = BINS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, list[CurvePoint]]:
    """Reliability curves of `a`, `b` and `tie`, in bins of about equal counts, by rising prediction.

    Args: as for `measure`; bins: the most a curve may have.
    """
    checked = log_softmax(check_log_probs(log_probs), axis=1)
    targets = check_verdicts(verdicts, len(checked))
    names = check_groups(groups, len(checked))
    curves: dict[str, list[CurvePoint]] = {}
    for column, label in enumerate(CLASSES):
        predicted, outcome = np.exp(checked[:, column]), targets[:, column]
        bin_of_row = equal_bins(predicted, bins)
        means = reliability_curve(predicted, outcome, bins)
        inside = [(bin_of_row == number).astype(np.float64) for number in range(len(means))]
        statistics = {str(number): _ratio(outcome * row, row) for number, row in enumerate(inside)}
        observed = bootstrap(statistics, names, resamples, seed)
        curves[label] = [
            CurvePoint(point.predicted, observed[str(number)], point.battles) for number, point in enumerate(means)
        ]
    return curves


def bootstrap(
    statistics: Mapping[str, Statistic], groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Measured]:
    """Each statistic of all rows, with its interval over resampled groups, the same draws for all.

    Args:
        statistics: by name; those that `_ROOTS` names are squares and are given as roots.
        groups: [n] names.
    """
    group_of_row = group_numbers(groups)
    prompts = int(group_of_row.max()) + 1
    # One prompt says nothing about the spread between prompts.
    resamples = resamples if prompts > 1 else 0
    resampling: dict[str, list[float]] = {name: [] for name in statistics}
    for counts in draws(prompts, resamples, seed):
        weights = counts[group_of_row].astype(np.float64)
        for name, statistic in statistics.items():
            resampling[name].append(statistic(weights))
    everything = np.ones(len(group_of_row))
    return {name: _measured(name, statistic(everything), resampling[name]) for name, statistic in statistics.items()}


def _measured(name: str, value: float, resampling: Sequence[float]) -> Measured:
    known = np.asarray(resampling)[~np.isnan(resampling)]
    if math.isnan(value) or not len(known):
        return Measured(_root(value) if name in _ROOTS else value, math.nan, math.nan)
    low, high = (float(bound) for bound in np.percentile(known, INTERVAL))
    if name in _ROOTS:
        move = value - float(known.mean())
        return Measured(_root(value), _root(low + move), _root(high + move))
    return Measured(value, low, high)


def _root(square: float) -> float:
    return square if math.isnan(square) else math.sqrt(max(0.0, square))
