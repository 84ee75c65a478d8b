"""How a system that would learn a side is kept from it: trained on both orders, and asked about both.

A verdict for (A, B) is the turned verdict for (B, A). Training on both orders makes the two sides alike on average; the
mean of both answers makes them alike exactly, since x + y and y + x are the same floating-point number.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

FloatArray = npt.NDArray[np.float64]

TURNED = [1, 0, 2]
# Probabilities below it come from rounding or from leaves that saw few battles.
LEAST = 1e-6


def both_orders(as_given: Any, turned: Any) -> Any:
    """Features of n battles and of the same with A and B exchanged, dense or sparse [n, F] each, as [2n, F]."""
    return (
        sparse.vstack([as_given, turned], format="csr") if sparse.issparse(as_given) else np.vstack([as_given, turned])
    )


def labels_of(verdicts: FloatArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """For classifiers that take one label a row: rows of both orders, labels and weights.

    Args:
        verdicts: float64 [n, 3], one-hot or soft.
    Returns:
        row int64 [m], into the 2n rows of `both_orders`; label int64 [m], 0, 1, 2; weight float64 [m], shares of votes.
    """
    stacked = np.concatenate([verdicts, verdicts[:, TURNED]])
    row, label = np.nonzero(stacked)
    return row, label, stacked[row, label]


def from_both_orders(as_given: FloatArray, turned: FloatArray) -> FloatArray:
    """Log of the mean of both answers: float64 [n, 3], from probabilities [n, 3] of the battles and of the same turned."""
    mean = np.maximum((as_given + turned[:, TURNED]) / 2, LEAST)
    return np.log(mean / (mean[:, :1] + mean[:, 1:2] + mean[:, 2:]))
