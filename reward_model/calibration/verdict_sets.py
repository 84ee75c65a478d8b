"""Verdict sets: for each battle the smallest set of labels that holds the human verdict with a stated coverage.

Split conformal prediction. A label is in a battle's set if its probability is at least a threshold t. The probabilities
that labelled battles gave to their verdicts decide t, so the coverage holds whether the model is right or not: for a battle
of a new prompt from the same source,

    P(verdict in set) >= coverage        over the draw of the labelled battles and of the new one.

Battles of one prompt are not exchangeable with those of another, but prompts are. So each of K prompts has the weight
1 / (K + 1), shared by its battles, and what remains, 1 / (K + 1), counts as a verdict that was given no probability:

    t = the largest p such that the weights of battles whose verdict had at least p sum to the coverage or more.

Every battle counts, and nothing is drawn at random. A soft verdict counts for A, B and tie by its shares. A and B have one
threshold, so swapping a battle swaps its set, and labels of equal probability are in it together or not at all. A set is
never empty: it holds the likeliest labels. That adds coverage only.

Source: Sadinle, Lei & Wasserman (2019), "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", for the smallest
sets; Lee, Barber & Willett (2023), "Distribution-free inference with hierarchical data", section 3, for the weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from arena_data.schema import LABELS
from reward_model.evaluation.probabilities import (
    check_groups,
    check_log_probs,
    check_verdicts,
    group_numbers,
)
from reward_model.evaluation.resampling import Estimate, Resampling

PERCENTS = tuple(range(50, 100))  # of coverage, those that thresholds are kept for
_ROUNDING = 1e-12  # of sums of weights

BoolArray = npt.NDArray[np.bool_]


def set_thresholds(
    log_probs: npt.ArrayLike, verdicts: npt.ArrayLike, groups: Sequence[str] | None = None
) -> dict[str, float]:
    """The least probability of a label in a set, by the coverage in percent: "50" to "99".

    Args:
        log_probs: float [n, 3] of battles that neither the model nor its calibration was fitted on.
        verdicts: float [n, 3], one-hot or soft.
        groups: [n], equal for battles of one prompt; None: each battle is its own.

    Returns:
        0 where so few prompts cannot promise the coverage: the set is then all three labels.

    Raises: ValueError for rows that do not fit together.
    """
    checked = check_log_probs(log_probs)
    targets = check_verdicts(verdicts, len(checked))
    group_of_row = np.arange(len(checked)) if groups is None else group_numbers(check_groups(groups, len(checked)))
    sizes = np.bincount(group_of_row)
    weights = (targets / sizes[group_of_row, None] / (len(sizes) + 1)).ravel()
    probabilities = np.exp(checked).ravel()
    order = np.argsort(-probabilities, kind="stable")
    reached = np.cumsum(weights[order])
    thresholds = {}
    for percent in PERCENTS:
        place = int(np.searchsorted(reached, percent / 100 - _ROUNDING))
        thresholds[str(percent)] = float(probabilities[order[place]]) if place < len(order) else 0.0
    return thresholds


def check_thresholds(thresholds: Any) -> None:
    """Raises: ValueError for anything but a probability for each of `PERCENTS`, or nothing at all."""
    if not isinstance(thresholds, dict) or (thresholds and set(thresholds) != {str(percent) for percent in PERCENTS}):
        raise ValueError(f"'set_thresholds' is {thresholds!r:.80}; expected a number by percent of coverage, 50 to 99")
    for percent, value in thresholds.items():
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise ValueError(f"'set_thresholds' of {percent} percent is {value!r}; expected a number from 0 to 1")


def verdict_sets(log_probs: npt.ArrayLike, threshold: float) -> BoolArray:
    """bool [n, 3]: whether A, B and tie are in each battle's set.

    Args:
        log_probs: float [n, 3].
        threshold: one of `set_thresholds`.

    Raises: ValueError for rows of another shape, NaN or +inf.
    """
    probabilities = np.exp(check_log_probs(log_probs))
    sets: BoolArray = (probabilities >= threshold) | (probabilities == probabilities.max(axis=1, keepdims=True))
    return sets


def set_texts(sets: npt.ArrayLike) -> list[str]:
    """The sets as a file has them: "A", "A tie", "A B tie". sets: bool [n, 3]."""
    return [
        " ".join(label for label, inside in zip(LABELS, row, strict=True) if inside) for row in np.asarray(sets, bool)
    ]


def measure_sets(
    sets: npt.ArrayLike,
    verdicts: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    slices: Mapping[str, Sequence[str | None]] | None = None,
    resamples: int = 1000,
) -> list[dict[str, Any]]:
    """Coverage and size of sets, of all battles and of each slice, with 95 % intervals over resampled prompts.

    The coverage is promised over all battles together. Slices show where it is lower, such as in one language.

    Args:
        sets: bool [n, 3].
        verdicts: float [n, 3], one-hot or soft.
        groups: [n], equal for battles of one prompt.
        slices: such as {"language": [n] names}; None among the names leaves a battle out.
        resamples: of the bootstrap.

    Returns:
        slice and name ("all", "" for all battles), coverage (0 to 1) and size (labels, 1 to 3) of each.

    Raises: ValueError for rows that do not fit together.
    """
    inside = np.asarray(sets, dtype=np.float64)
    targets = check_verdicts(verdicts, len(inside))
    resampling = Resampling(check_groups(groups, len(inside)), resamples)
    covered, size = (inside * targets).sum(axis=1), inside.sum(axis=1)

    def measured(kind: str, name: str, rows: BoolArray | None) -> dict[str, Any]:
        figures: dict[str, Estimate] = {"coverage": resampling.mean(covered, rows), "size": resampling.mean(size, rows)}
        return {"slice": kind, "name": name, **figures}

    lines = [measured("all", "", None)]
    for kind, names in (slices or {}).items():
        array = np.array(check_slice(kind, names, len(inside)), dtype=object)
        lines += [measured(kind, name, array == name) for name in sorted({name for name in names if name is not None})]
    return lines


def check_slice(kind: str, names: Sequence[str | None], rows: int) -> Sequence[str | None]:
    """The names. Raises: ValueError for another number of them than there are battles."""
    if len(names) != rows:
        raise ValueError(f"{len(names)} names of slice {kind!r} for {rows} battles")
    return names
