"""Davidson regression: a convex fit of wins and ties that cannot prefer a side, with ties allowed to be unobserved.

    margin d = a·x, where x changes sign with the sides        log P(A), log P(B), log P(tie) = (d/2, -d/2, τ) - log Z
    tie strength τ = b·z + c + o(source), where z does not

The ridge penalty is on a and b; rates of ties, c and o, are left free. Where a source never recorded ties, what is known
of a battle is its verdict *given that it is no tie*: P(A | no tie) = e^{d/2} / (e^{d/2} + e^{-d/2}) = σ(d), in which τ plays
no part. So such battles teach margins and leave tie rates alone; and a source with another tie rate has its own offset o.

Source: Davidson (1970), "On extending the Bradley-Terry model to accommodate ties", Journal of the American Statistical
Association 65, eq. 2.3, with linear predictors for log-strengths and log ν.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

FloatArray = npt.NDArray[np.float64]

# A logit that stands for "this cannot happen", small enough to vanish and large enough to be multiplied by 0.
_NEVER = -1e9


class Design(NamedTuple):
    """What the fit reads, row by row.

    odd: float64 [n, P], changes sign when A and B are exchanged; even: float64 [n, Q], does not.
    source: float64 [n, S], one-hot for battles of other sources, 0 for our own.
    tie_observed: bool [n].
    """

    odd: FloatArray
    even: FloatArray
    source: FloatArray
    tie_observed: npt.NDArray[np.bool_]

    def rows(self, chosen: npt.NDArray[np.int64]) -> "Design":
        return Design(self.odd[chosen], self.even[chosen], self.source[chosen], self.tie_observed[chosen])

    @staticmethod
    def plain(odd: FloatArray, even: FloatArray, sources: int = 0) -> "Design":
        """Of our own battles, in which ties were recorded."""
        return Design(odd, even, np.zeros((len(odd), sources)), np.ones(len(odd), dtype=bool))


class Weights(NamedTuple):
    """a [P], b [Q], o [S] and c."""

    odd: FloatArray
    even: FloatArray
    source: FloatArray
    bias: float

    def arrays(self) -> dict[str, FloatArray]:
        """By names for a file; `from_arrays` is the inverse."""
        return {f"weight_{name}": np.atleast_1d(values) for name, values in self._asdict().items()}

    @staticmethod
    def from_arrays(arrays: dict[str, FloatArray]) -> "Weights":
        odd, even, source, bias = (arrays[f"weight_{name}"] for name in Weights._fields)
        return Weights(odd, even, source, float(bias[0]))


def log_probabilities(design: Design, weights: Weights) -> FloatArray:
    """float64 [n, 3]; where ties are unobserved, those given that the battle is no tie."""
    half = design.odd @ weights.odd / 2
    tie = design.even @ weights.even + design.source @ weights.source + weights.bias
    return log_softmax(np.stack([half, -half, np.where(design.tie_observed, tie, _NEVER)], axis=1), axis=1)


def fit(design: Design, verdicts: FloatArray, penalty: float | FloatArray, weight: FloatArray | None = None) -> Weights:
    """The one minimum of the mean log loss + penalty / 2 · (|a|² + |b|²).

    Args:
        verdicts: float64 [n, 3], one-hot or soft; without a share of ties where ties are unobserved.
        penalty: one for all, or float64 [P + Q], one for each of a and then of b.
        weight: float64 [n], how much a battle counts; alike if not given.

    Raises: ValueError for a tie where none can have been observed.
    """
    if (verdicts[~design.tie_observed, 2] > 0).any():
        raise ValueError("a battle is a tie, but its source is said not to record ties")
    counted = np.ones(len(verdicts)) if weight is None else weight
    counted = counted / counted.sum()
    odd, even = design.odd.shape[1], design.even.shape[1]
    sizes = np.cumsum([odd, even, design.source.shape[1]])
    # Ties at the rate that was seen, where everything else is 0.
    seen = np.clip(np.average(verdicts[design.tie_observed, 2], weights=counted[design.tie_observed]), 0.01, 0.98)
    start = np.zeros(sizes[2] + 1)
    start[-1] = np.log(2 * seen / (1 - seen))

    def unpack(theta: FloatArray) -> Weights:
        a, b, offsets, bias = np.split(theta, sizes)
        return Weights(a, b, offsets, float(bias[0]))

    def loss_and_gradient(theta: FloatArray) -> tuple[float, FloatArray]:
        predicted = log_probabilities(design, unpack(theta))
        surplus = counted[:, None] * (np.exp(predicted) - verdicts)
        gradient = np.concatenate(
            [
                (surplus[:, 0] - surplus[:, 1]) @ design.odd / 2,
                surplus[:, 2] @ design.even,
                surplus[:, 2] @ design.source,
                surplus[:, 2].sum(keepdims=True),
            ]
        )
        gradient[: sizes[1]] += penalty * theta[: sizes[1]]
        ridge = float(np.sum(penalty * theta[: sizes[1]] ** 2)) / 2
        return -float(counted @ (verdicts * predicted).sum(axis=1)) + ridge, gradient

    options = {"maxiter": 300, "ftol": 1e-10, "gtol": 1e-6}
    return unpack(minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x)
