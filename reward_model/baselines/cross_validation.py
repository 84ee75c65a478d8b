"""How every baseline chooses its settings: by log loss over grouped folds of its own training battles.

Battles of one prompt stay in one fold (`arena_data.splits.folds.deal_folds`). Nothing here sees the battles that a system
is judged on.
Source: Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning", section 7.10.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Candidate = TypeVar("Candidate")
FloatArray = npt.NDArray[np.float64]


def splits(part: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(rows to fit on, rows held out) for each fold that leaves something to fit on."""
    for number in np.unique(part):
        if (part != number).any():
            yield np.flatnonzero(part != number), np.flatnonzero(part == number)


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
    mean_losses = []
    for place, candidate in enumerate(candidates):
        each = [held_out_losses(candidate, fitted, held_out) for fitted, held_out in splits(part)]
        mean_losses.append((float(np.concatenate(each).mean()) if each else float("inf"), place))
    loss, place = min(mean_losses)
    return candidates[place], loss
