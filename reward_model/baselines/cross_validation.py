"""How every baseline chooses its settings: by log loss over grouped folds of its own training battles.

Battles of one prompt stay in one fold. Nothing here sees the battles that a system is judged on.
Source: Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning", section 7.10.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.splits.folds import deal

FOLDS = 5
Candidate = TypeVar("Candidate")
FloatArray = npt.NDArray[np.float64]


def fold_of_row(battles: datasets.Dataset, folds: int = FOLDS, seed: int = 0) -> npt.NDArray[np.int64]:
    """int64 [n]: folds of labelled battles, grouped by prompt, stratified by verdict; fewer where prompts are few."""
    groups = list(battles["group"])
    verdicts = np.asarray(list(battles["verdict"]), dtype=np.float64).reshape(-1, 3)
    return deal(groups, verdicts.argmax(axis=1), [1.0] * max(1, min(folds, len(set(groups)))), seed)


def splits(part: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(rows to fit on, rows held out) for each fold that leaves something to fit on."""
    for number in np.unique(part):
        if (part != number).any():
            yield np.flatnonzero(part != number), np.flatnonzero(part == number)


def losses(log_probs: npt.ArrayLike, verdicts: npt.ArrayLike) -> FloatArray:
    """float64 [n]: the log loss of each battle."""
    return -(np.asarray(verdicts, np.float64) * np.asarray(log_probs, np.float64)).sum(axis=1)


def choose(
    candidates: Sequence[Candidate],
    part: npt.NDArray[np.int64],
    held_out_losses: Callable[[Candidate, npt.NDArray[np.int64], npt.NDArray[np.int64]], FloatArray],
) -> tuple[Candidate, float]:
    """The candidate of least mean log loss over held-out rows, and that loss; the first of equals, and of one fold.

    Args:
        part: int [n], the fold of each row.
        held_out_losses: (candidate, rows to fit on, rows held out) -> the loss of each row held out.
    """
    found = []
    for place, candidate in enumerate(candidates):
        each = [held_out_losses(candidate, fitted, held_out) for fitted, held_out in splits(part)]
        found.append((float(np.concatenate(each).mean()) if each else float("inf"), place))
    loss, place = min(found)
    return candidates[place], loss
