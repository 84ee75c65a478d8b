"""A win share from many predictions and few human votes, valid whether the predictions are right or not.

Prediction-powered inference. The score of a battle is 1 where A wins, 1/2 for a tie, 0 where B wins: Y as voted, f as
predicted. With N battles, of which some are voted on, and weights w of the voted ones that sum to 1,

    share = trust * mean of f over all battles + sum of w * (Y - trust * f)

The second term takes away what the predictions get wrong on average. trust is fitted to make the variance least: 0 ignores
the predictions, and the interval is then that of the votes alone. w is even where battles were picked at random, and
proportional to 1 / (probability of being asked) where some were likelier to be asked. Battles of one prompt vary
together, so the variance is that of sums over prompts.

`ask` picks the battles to be voted on next: likelier where the predicted score varies more, and never impossible, since what
is never asked cannot be corrected.

The package ppi-python has the same mean, but neither prompts nor unequal chances of being asked, and needs numba and gdown.

Source: Angelopoulos, Duchi & Zrnic (2023), "PPI++: Efficient Prediction-Powered Inference", section 6, for trust; Zrnic &
Candès (2024), "Active Statistical Inference", for what to ask; Hájek (1971) for weights that sum to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from reward_model.evaluation.probabilities import FloatArray, check_groups, group_numbers

LEAST_VOTES = 10  # prompts voted on, below which no interval is given
EVEN_SHARE = 0.5  # of the chance of being asked that all battles have alike
LEVEL = 0.95

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Interval:
    """A share, 0 to 1, and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True)
class WinShare:
    """A win share with the predictions' help, and from the votes alone.

    Args:
        powered: from predictions and votes.
        alone: from the votes alone.
        trust: weight of the predictions, 0 to 1.
        votes, battles: how many battles were voted on, and how many there are.
        correlation: squared, of what votes and predictions say: the share of the votes' variance that predictions explain.
    """

    powered: Interval
    alone: Interval
    trust: float
    votes: int
    battles: int
    correlation: float

    @property
    def narrower(self) -> float:
        """By what share the interval is narrower than that of the votes alone."""
        return 1 - self.powered.width / self.alone.width if self.alone.width else 0.0

    def more_votes(self, width: float) -> int | None:
        """How many more battles must be voted on for an interval of this width; None where all of them are too few."""
        per_vote = self.votes * (self.alone.width / 2) ** 2  # of the square of half a width
        left = (width / 2) ** 2 - per_vote * self.correlation / self.battles
        needed = per_vote * (1 - self.correlation) / left if left > 0 else math.inf
        return max(0, math.ceil(needed) - self.votes) if needed <= self.battles else None


def score(probabilities: npt.ArrayLike) -> FloatArray:
    """float64 [n]: what A gets, 0 to 1: P(A) + P(tie) / 2. probabilities: float [n, 3]."""
    shares = np.asarray(probabilities, dtype=np.float64)
    result: FloatArray = shares[:, 0] + shares[:, 2] / 2
    return result


def win_share(
    predicted: npt.ArrayLike,
    voted: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    asked_with: npt.ArrayLike | None = None,
) -> WinShare:
    """The win share of all battles of this kind.

    Args:
        predicted: float [n], scores of all battles, made without the votes.
        voted: float [n], NaN where nobody has voted.
        groups: [n], equal for battles of one prompt; None: each battle is its own.
        asked_with: float [n], probability of each battle of being voted on; None: all alike.

    Raises: ValueError for rows that do not fit together, or votes on fewer than `LEAST_VOTES` prompts.
    """
    forecast, votes = np.asarray(predicted, dtype=np.float64), np.asarray(voted, dtype=np.float64)
    if forecast.shape != votes.shape or forecast.ndim != 1 or not np.isfinite(forecast).all():
        raise ValueError(f"scores have shapes {forecast.shape} and {votes.shape}; expected the same, without NaN")
    asked = ~np.isnan(votes)
    group_of_row = np.arange(len(votes)) if groups is None else group_numbers(check_groups(groups, len(votes)))
    prompts = len(np.unique(group_of_row[asked]))
    if prompts < LEAST_VOTES:
        raise ValueError(f"{prompts} prompts have votes; expected at least {LEAST_VOTES}")
    chances = np.ones(len(votes)) if asked_with is None else np.asarray(asked_with, dtype=np.float64)
    if chances.shape != votes.shape or not ((chances > 0) & (chances <= 1)).all():
        raise ValueError("probabilities of being asked must be above 0 and at most 1, one a battle")
    weights = asked / chances
    weights /= weights.sum()
    known = np.where(asked, votes, 0.0)

    # How far each battle, and with it each prompt, moves the votes' mean, and how far the predictions' correction.
    of_votes = weights * (known - weights @ known)
    of_predictions = (forecast - forecast.mean()) / len(forecast) - weights * (forecast - weights @ forecast)
    by_votes, by_predictions = (np.bincount(group_of_row, moves) for moves in (of_votes, of_predictions))
    moved = by_predictions @ by_predictions
    # Predictions that never vary, or votes on everything, leave nothing to correct by.
    trust = float(np.clip(-(by_votes @ by_predictions) / moved, 0, 1)) if moved > 1e-18 else 0.0
    reach = student.ppf((1 + LEVEL) / 2, prompts - 1) * math.sqrt(prompts / (prompts - 1))
    # Where all votes are alike, no variance can be seen: so large a share of prompts may still vote otherwise (Clopper &
    # Pearson 1934), by a whole win at most.
    varies = bool(np.linalg.norm(by_votes) > 1e-12)
    unseen = 1 - ((1 - LEVEL) / 2) ** (1 / prompts)

    def interval(weight: float) -> Interval:
        value = weight * forecast.mean() + weights @ (known - weight * forecast)
        half = reach * float(np.linalg.norm(by_votes + weight * by_predictions))
        low, high = (half, half) if varies else (value * unseen, (1 - value) * unseen)
        return Interval(float(value), float(max(0.0, value - low)), float(min(1.0, value + high)))

    def variance(weight: float) -> float:
        return float(np.sum((by_votes + weight * by_predictions) ** 2))

    unvoted = 1 - asked.mean()
    explained = (1 - variance(trust) / variance(0)) / unvoted if unvoted > 0 and variance(0) > 0 else 0.0
    return WinShare(
        interval(trust), interval(0.0), trust, int(asked.sum()), len(votes), float(np.clip(explained, 0, 1))
    )


def ask(
    probabilities: npt.ArrayLike,
    voted: BoolArray,
    number: int,
    asked_with: npt.ArrayLike | None = None,
    seed: int = 0,
) -> tuple[BoolArray, FloatArray]:
    """Battles to ask people about next.

    Args:
        probabilities: float [n, 3], as predicted.
        voted: bool [n], whether a battle has its vote already.
        number: of battles to pick, at most those without a vote.
        asked_with: float [n], as `win_share` takes it, of the votes there are; None: those were picked at random.
        seed: of the choice.

    Returns:
        bool [n], the battles picked; float64 [n], every battle's probability of having been asked by then.

    Raises: ValueError for more battles than there are.
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    waiting = np.flatnonzero(~voted)
    if not 0 < number <= len(waiting):
        raise ValueError(f"{number} battles to ask about; expected 1 to {len(waiting)}, those without a vote")
    spread = np.sqrt(np.maximum(shares[:, 0] + shares[:, 2] / 4 - score(shares) ** 2, 0))
    wish = EVEN_SHARE + (1 - EVEN_SHARE) * spread / (spread.mean() or 1.0)
    # The factor that makes the chances of those without a vote sum to the number: found by halving.
    low, high = 0.0, 1 / wish.min()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(middle * wish[waiting], 1).sum() < number else (low, middle)
    chances = np.minimum(high * wish, 1)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(waiting)
    # Systematic sampling: as many as asked for, each with its chance exactly.
    ends = np.cumsum(chances[shuffled]) * number / chances[shuffled].sum()
    picked = np.zeros(len(shares), dtype=bool)
    picked[shuffled[np.searchsorted(ends, random.random() + np.arange(number))]] = True
    before = np.full(len(shares), voted.mean()) if asked_with is None else np.asarray(asked_with, dtype=np.float64)
    return picked, before + (1 - before) * chances
