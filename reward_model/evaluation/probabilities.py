"""The rows that calibration, blending and metrics share, checked once: log-probabilities, verdicts and groups."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# What float32 still tells from 0. Probabilities of exactly 0 come from rounding, and no map could raise them.
FLOOR = math.log(np.finfo(np.float32).tiny)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def floored_log(probabilities: npt.ArrayLike) -> FloatArray:
    """Natural logarithms, float64 of the same shape; of a probability below what float32 still tells from 0, `FLOOR`."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(np.asarray(probabilities, dtype=np.float64)), FLOOR)


def check_log_probs(log_probs: npt.ArrayLike) -> FloatArray:
    """float64 [n, 3], no entry below `FLOOR`. Raises: ValueError for another shape, NaN or +inf."""
    checked = np.asarray(log_probs, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] != 3:
        raise ValueError(f"log-probabilities have shape {checked.shape}; expected [n, 3]: A, B, tie")
    wrong = np.isnan(checked) | np.isposinf(checked)
    if wrong.any():
        row = int(np.flatnonzero(wrong.any(axis=1))[0])
        raise ValueError(f"log-probabilities of row {row + 1} are {checked[row].tolist()}; expected finite numbers")
    return np.maximum(checked, FLOOR)


def check_verdicts(verdicts: npt.ArrayLike, rows: int) -> FloatArray:
    """float64 [rows, 3]. Raises: ValueError for another shape, no rows, or rows that are not shares of 1."""
    checked = np.asarray(verdicts, dtype=np.float64)
    if checked.shape != (rows, 3) or rows == 0:
        raise ValueError(f"verdicts have shape {checked.shape}; expected [{rows}, 3] with at least one row")
    wrong = ~((checked >= 0).all(axis=1) & (np.abs(checked.sum(axis=1) - 1) < 1e-3))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"verdict of row {row + 1} is {checked[row].tolist()}; expected three shares that sum to 1")
    return checked


def check_groups(groups: Sequence[str] | None, rows: int) -> list[str]:
    """[rows] names of groups; None: every row is its own. Raises: ValueError for another number of them."""
    names = [str(row) for row in range(rows)] if groups is None else [str(group) for group in groups]
    if len(names) != rows:
        raise ValueError(f"{len(names)} groups for {rows} rows of log-probabilities")
    return names


def group_numbers(names: Sequence[str]) -> IntArray:
    """int64 [n]: groups numbered from 0."""
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].astype(np.int64)


def row_losses(log_probs: npt.ArrayLike, verdicts: npt.ArrayLike) -> FloatArray:
    """float64 [n]: cross-entropy in nats of each row of normalised log-probabilities against its soft verdict.

    In torch it is `reward_model.model.losses.cross_entropy`.
    """
    losses: FloatArray = -(np.asarray(verdicts, np.float64) * np.asarray(log_probs, np.float64)).sum(axis=1)
    return losses


def log_loss(log_probs: npt.ArrayLike, verdicts: npt.ArrayLike) -> float:
    """Mean cross-entropy in nats of log_probs [n, 3], normalised, against soft verdicts [n, 3]."""
    return float(row_losses(log_probs, verdicts).mean())
