"""Bending a blend: what a pool of fixed weights cannot say, learned as a small correction on top of it.

A weighted pool trusts each member alike wherever it is sure and wherever it is not. A bend adds to the pooled margin and tie
strength what is linear in a few terms of each member, with margin d = log P(A) - log P(B) and
tie strength t = log P(tie) - (log P(A) + log P(B)) / 2:

    smooth   margin         d, P(A) - P(B), sign(d) log(1 + |d|)                    change sign with the sides
             tie strength   t, P(tie), (log P(A) + log P(B)) / 2, |d|               do not
    hinges   margin         d, P(A) - P(B), sign(d) max(|d| - k, 0)                 at five knots k
             tie strength   t, P(tie), max(|d| - k, 0), max(t - l, 0)               at six knots l

Each term has a spread of 1 and stays within its range in the fit. Each of the two sets is fitted by a softmax regression
with the pool as its offset and a normal prior on each weight: convex, and without battles to learn from it is the pool. The
blend is the mean of the pool and the two in margin and tie strength, which errs less than either. It is linear in the terms.

Source: Hastie, Tibshirani & Friedman (2009), "The Elements of Statistical Learning", sections 5.2 and 8.8, for stacking on
transformed inputs with a ridge.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax

from reward_model.calibration.softmax_fit import fit_logits
from reward_model.evaluation.probabilities import FloatArray

# Knots lie at these quantiles of a member's |d|, and of its t.
MARGIN_KNOTS, TIE_KNOTS = (0.2, 0.4, 0.6, 0.8, 0.95), (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
KNOTS = len(MARGIN_KNOTS) + len(TIE_KNOTS)
# Terms of a member: of the margin, of the tie strength; smooth ones first, then hinges.
ODD = (3, 2 + len(MARGIN_KNOTS))
EVEN = (4, 2 + KNOTS)
TERMS = sum(ODD) + sum(EVEN)
PRECISIONS = (2.0, 32.0)  # of a weight's prior, in battles: of the smooth terms, of the hinges


@dataclass(frozen=True)
class Bend:
    """The fitted correction of a blend of M members, as stored in blend.json.

    Args:
        weights: TERMS · M, of the terms in the order of `terms_of`.
        shift: of the tie strength.
        middle, spread: of each term; a margin's middle is 0.
        low, high: each term's range in the fit, in spreads from the middle.
        knots: KNOTS · M, member by member.

    Raises: ValueError for anything else.
    """

    weights: tuple[float, ...]
    shift: float
    middle: tuple[float, ...]
    spread: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    knots: tuple[float, ...]

    def __post_init__(self) -> None:
        names = ("weights", "middle", "spread", "low", "high", "knots")
        if not isinstance(self.shift, int | float) or not np.isfinite(self.shift):
            raise ValueError(f"bend has the shift {self.shift!r}; expected a number")
        for name in names:
            values = getattr(self, name)
            if not isinstance(values, list | tuple) or not all(type(value) in (int, float) for value in values):
                raise ValueError(f"bend {name!r} is {values!r:.80}; expected a list of numbers")
            object.__setattr__(self, name, tuple(map(float, values)))
        sizes = [len(getattr(self, name)) for name in names]
        if sizes != [TERMS * self.members] * 5 + [KNOTS * self.members] or not self.members:
            raise ValueError(f"bend has lists of different lengths, or not {TERMS} terms and {KNOTS} knots a member")
        if not all(np.isfinite(getattr(self, name)).all() for name in names) or min(self.spread) <= 0:
            raise ValueError("bend has numbers that are not finite, or a spread that is not above 0")

    @property
    def members(self) -> int:
        return len(self.weights) // TERMS

    def apply(self, pooled: FloatArray, members: FloatArray) -> FloatArray:
        """float64 [n, 3]: the pool bent; a swap of every member swaps it to the last bit.

        Args:
            pooled: float64 [n, 3], log-probabilities.
            members: float64 [M, n, 3], normalised log-probabilities.
        """
        terms = self._held(members)
        weights, count = np.asarray(self.weights), sum(ODD) * self.members
        # Summed in one order whatever the number of rows.
        half = np.einsum("nk,k->n", terms[:, :count], weights[:count]) / 2
        tie = np.einsum("nk,k->n", terms[:, count:], weights[count:]) + self.shift
        return log_softmax(pooled + np.stack([half, -half, tie], axis=1), axis=1)

    def _held(self, members: FloatArray) -> FloatArray:
        knots = np.reshape(self.knots, (self.members, KNOTS))
        return np.clip((terms_of(members, knots) - self.middle) / self.spread, self.low, self.high)

    @classmethod
    def from_json(cls, stored: Any) -> "Bend":
        """Raises: ValueError, in one line, for anything but the fields."""
        if not isinstance(stored, dict) or set(stored) != set(cls.__dataclass_fields__):
            raise ValueError(f"bend is no object of {', '.join(cls.__dataclass_fields__)}")
        return cls(**stored)


def terms_of(members: FloatArray, knots: FloatArray) -> FloatArray:
    """float64 [n, TERMS · M]: the margins' smooth terms and hinges, then the tie strengths'.

    Args:
        members: float64 [M, n, 3], normalised log-probabilities.
        knots: float64 [M, KNOTS], of |d| and then of t.
    """
    margin, strength, wins, a, b, log_tie = _readings(members)
    share, tie_share, size = np.exp(a) - np.exp(b), np.exp(log_tie), np.abs(margin)
    of_margins, of_ties = np.split(knots.T[:, :, None], [len(MARGIN_KNOTS)])
    beyond = [np.maximum(size - knot, 0) for knot in of_margins]
    odd = [margin, share, np.sign(margin) * np.log1p(size), margin, share, *(np.sign(margin) * part for part in beyond)]
    even = [strength, tie_share, wins, size, strength, tie_share, *beyond]
    return np.concatenate([*odd, *even, *(np.maximum(strength - knot, 0) for knot in of_ties)]).T


def _readings(members: FloatArray) -> tuple[FloatArray, ...]:
    """Margin, tie strength, mean log-probability of the wins, and log P(A), log P(B), log P(tie): float64 [M, n] each."""
    a, b, log_tie = np.moveaxis(members, 2, 0)
    wins = (a + b) / 2
    return a - b, log_tie - wins, wins, a, b, log_tie


def fit_bend(pooled: FloatArray, members: FloatArray, verdicts: FloatArray) -> Bend:
    """The correction of a pool by what these battles say.

    Args:
        pooled: float64 [n, 3], what the blend says of these rows, calibrated.
        members: float64 [M, n, 3], normalised log-probabilities, out of fold.
        verdicts: float64 [n, 3].
    """
    margin, strength = _readings(members)[:2]
    knots = np.concatenate(
        [np.quantile(np.abs(margin), MARGIN_KNOTS, axis=1), np.quantile(strength, TIE_KNOTS, axis=1)]
    ).T
    terms, count = terms_of(members, knots), len(members)
    odd = np.arange(terms.shape[1]) < sum(ODD) * count
    # Which side a margin is on must not move what it is measured from.
    middle = np.where(odd, 0.0, terms.mean(axis=0))
    spread = np.sqrt(((terms - middle) ** 2).mean(axis=0))
    spread = np.where(spread > 1e-9, spread, 1.0)
    scaled = (terms - middle) / spread
    high = np.where(odd, np.abs(scaled).max(axis=0), scaled.max(axis=0))
    low = np.where(odd, -high, scaled.min(axis=0))

    weights, shift = np.zeros(len(odd)), 0.0
    smooth = np.repeat([True, False, True, False], np.multiply([*ODD, *EVEN], count))
    for chosen, precision in ((smooth, PRECISIONS[0]), (~smooth, PRECISIONS[1])):
        of_set, moved = fitted_weights(pooled, scaled[:, chosen], odd[chosen], verdicts, precision)
        # The mean of three: the pool itself, which asks for nothing, and each of the two.
        weights[chosen], shift = of_set / 3, shift + moved / 3
    numbers = (tuple(values.tolist()) for values in (weights, middle, spread, low, high, knots.ravel()))
    given, *rest = numbers
    return Bend(given, shift, *rest)


def fitted_weights(
    pooled: FloatArray, terms: FloatArray, odd: np.ndarray, verdicts: FloatArray, precision: float
) -> tuple[FloatArray, float]:
    """The weights and the shift of ties at the one minimum of log loss and prior.

    Args:
        pooled: float64 [n, 3], the offset.
        terms: float64 [n, k].
        odd: bool [k], whether a term is of the margin; the others are of the tie strength.
        verdicts: float64 [n, 3].
        precision: of each weight's prior, in battles; the shift has none.
    """
    design = np.zeros((*pooled.shape, terms.shape[1] + 1))
    design[:, 0, :-1], design[:, 1, :-1] = terms * odd / 2, -terms * odd / 2
    design[:, 2, :-1], design[:, 2, -1] = terms * ~odd, 1.0
    fitted = fit_logits(design, pooled, verdicts, np.append(np.full(terms.shape[1], precision), 0.0))
    return fitted[:-1], float(fitted[-1])
