"""Davidson regression: a convex fit of wins and ties that cannot prefer a side, with ties allowed to be unobserved.

    margin d = a·x, where x changes sign with the sides        log P(A), log P(B), log P(tie) = (d/2, -d/2, τ) - log Z
    tie strength τ = b·z + c + o(source), where z does not

The ridge penalty is on a and b; rates of ties, c and o, are left free. Where a source never recorded ties, what is known
of a battle is its verdict *given that it is no tie*: P(A | no tie) = e^{d/2} / (e^{d/2} + e^{-d/2}) = σ(d), in which τ plays
no part. So such battles teach margins and leave tie rates alone; and a source with another tie rate has its own offset o.

Other people like other things. With a `closeness` k each other source has weights of its own, a + a_s and b + b_s, and the
penalty on a_s and b_s is k times that on a and b. What all sources agree on then goes into a and b, and what only one of
them likes into its a_s. Only a and b are kept: they are ours.

Source: Davidson (1970), "On extending the Bradley-Terry model to accommodate ties", Journal of the American Statistical
Association 65, eq. 2.3, with linear predictors for log-strengths and log ν; Evgeniou & Pontil (2004), "Regularized
Multi-Task Learning", section 2.1, for weights of a source beside the shared ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

FloatArray = npt.NDArray[np.float64]

# A logit that stands for "this cannot happen", small enough to vanish and large enough to be multiplied by 0.
_NEVER = -1e9
# Below this a penalty holds nothing, and features of one column twice would leave a step without an end.
_LEAST_PENALTY = 1e-9
# Curvature of the log loss by the tie strength where ties are one in three; that by the margin is 1 / 6.
_OF_TIES = 2 / 9


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
    return _normalised(half, tie, design.tie_observed)


def _normalised(half: FloatArray, tie: FloatArray, tie_observed: npt.NDArray[np.bool_]) -> FloatArray:
    return log_softmax(np.stack([half, -half, np.where(tie_observed, tie, _NEVER)], axis=1), axis=1)


class _BySource:
    """A linear predictor whose weights are the shared ones, and in the rows of a source its own in addition.

    Args:
        features: float64 [n, F].
        rows: the rows of each source that has weights of its own.
    """

    def __init__(self, features: FloatArray, rows: Sequence[npt.NDArray[np.int64]]):
        self.features, self.rows = features, rows
        self.parts = [features[chosen] for chosen in rows]
        self.size = features.shape[1] * (1 + len(rows))

    def predict(self, weights: FloatArray) -> FloatArray:
        """float64 [n]. weights: float64 [size], the shared ones first."""
        shared, *own = np.split(weights, 1 + len(self.rows))
        predicted: FloatArray = self.features @ shared
        for chosen, part, more in zip(self.rows, self.parts, own, strict=True):
            predicted[chosen] += part @ more
        return predicted

    def gradient(self, slope: FloatArray) -> FloatArray:
        """float64 [size], of a loss whose derivative by the prediction is `slope` [n]."""
        of_sources = [slope[chosen] @ part for chosen, part in zip(self.rows, self.parts, strict=True)]
        return np.concatenate([slope @ self.features, *of_sources])

    def penalties(self, shared: FloatArray, closeness: float) -> list[FloatArray]:
        """float64 [F] of the shared weights and of each source's own. shared: float64 [F]."""
        return [shared, *[closeness * shared] * len(self.rows)]

    def steps(self, weight: FloatArray, curvature: float, penalties: Sequence[FloatArray]) -> list[FloatArray]:
        """float64 [F, F] of the shared weights and of each source's own: steps along which the loss is about equally curved.

        Args:
            weight: float64 [n], what a battle counts.
            curvature: of a battle's loss by the prediction, about.
        """
        weights = [weight, *(weight[chosen] for chosen in self.rows)]
        found = []
        for part, counted, penalty in zip([self.features, *self.parts], weights, penalties, strict=True):
            curved = part.T @ (part * (curvature * counted)[:, None]) + np.diag(np.maximum(penalty, _LEAST_PENALTY))
            found.append(np.linalg.inv(np.linalg.cholesky(curved)).T)
        return found


def fit(
    design: Design,
    verdicts: FloatArray,
    penalty: float | FloatArray,
    weight: FloatArray | None = None,
    closeness: float | None = None,
) -> Weights:
    """The one minimum of the mean log loss + penalty / 2 · (|a|² + |b|² + closeness · Σ_s (|a_s|² + |b_s|²)).

    Args:
        verdicts: float64 [n, 3], one-hot or soft; without a share of ties where ties are unobserved.
        penalty: one for all, or float64 [P + Q], one for each of a and then of b.
        weight: float64 [n], how much a battle counts; alike if not given.
        closeness: above 0, holds the weights of other sources to ours; None: they have none of their own.

    Raises: ValueError for a tie where none can have been observed.
    """
    from scipy.optimize import minimize  # 0.3 s to import, and prediction does without it

    if (verdicts[~design.tie_observed, 2] > 0).any():
        raise ValueError("a battle is a tie, but its source is said not to record ties")
    counted = np.ones(len(verdicts)) if weight is None else weight
    counted = counted / counted.sum()
    width = design.odd.shape[1]
    rows = [] if closeness is None else [np.flatnonzero(column) for column in design.source.T]
    odd, even = _BySource(design.odd, rows), _BySource(design.even, rows)
    sizes = np.cumsum([odd.size, even.size, design.source.shape[1]])
    shared = np.broadcast_to(np.asarray(penalty, dtype=np.float64), (width + design.even.shape[1],))
    penalties, steps = [], []
    for part, held, curvature in zip((odd, even), np.split(shared, [width]), (1 / 6, _OF_TIES), strict=True):
        of_part = part.penalties(held, closeness or 0.0)
        penalties += of_part
        steps += part.steps(counted, curvature, of_part)
    ridge = np.concatenate(penalties)
    ends = np.cumsum([len(step) for step in steps])
    rate_steps = 1 / np.sqrt(_OF_TIES * np.append(np.maximum(counted @ design.source, 1e-6), 1.0))
    # Ties at the rate that was seen, where everything else is 0.
    seen = np.clip(np.average(verdicts[design.tie_observed, 2], weights=counted[design.tie_observed]), 0.01, 0.98)
    start = np.zeros(sizes[2] + 1)
    start[-1] = np.log(2 * seen / (1 - seen)) / rate_steps[-1]

    def along_steps(phi: FloatArray) -> FloatArray:
        parts = np.split(phi, ends)
        return np.concatenate(
            [*(step @ part for step, part in zip(steps, parts, strict=False)), rate_steps * parts[-1]]
        )

    def loss_and_gradient(phi: FloatArray) -> tuple[float, FloatArray]:
        theta = along_steps(phi)
        a, b, offsets, bias = np.split(theta, sizes)
        half, tie = odd.predict(a) / 2, even.predict(b) + design.source @ offsets + bias
        predicted = _normalised(half, tie, design.tie_observed)
        surplus = counted[:, None] * (np.exp(predicted) - verdicts)
        of_ties = np.where(design.tie_observed, surplus[:, 2], 0.0)
        slope = np.concatenate([odd.gradient((surplus[:, 0] - surplus[:, 1]) / 2), even.gradient(of_ties)])
        slope += ridge * theta[: sizes[1]]
        by_step = [step.T @ part for step, part in zip(steps, np.split(slope, ends[:-1]), strict=True)]
        held_back = float(np.sum(ridge * theta[: sizes[1]] ** 2)) / 2
        of_rates = rate_steps * np.append(of_ties @ design.source, of_ties.sum())
        gradient = np.concatenate([*by_step, of_rates])
        return -float(counted @ (verdicts * predicted).sum(axis=1)) + held_back, gradient

    options = {"maxiter": 300, "ftol": 1e-10, "gtol": 1e-6}
    best = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    a, b, offsets, bias = np.split(along_steps(best.x), sizes)
    return Weights(a[:width], b[: design.even.shape[1]], offsets, float(bias[0]))
