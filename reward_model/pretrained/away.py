"""Away from home: what a judge is less sure of than at home, it draws towards the prior, by a rule that is stored with it.

A situation is something that is counted, and looks the same from both sides: a language, or a style feature of either
response outside a range. With K the product of `keep` over the situations that a battle is in, and T the sum of `tie`,

    log p'  =  K · log p + (1 − K) · log prior,  then + T for a tie, normalised.

`keep` is between 0 and 1, so no situation makes a judge surer of a side. The rule is fitted across sources, leaving one out.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from arena_data.style.features import PAIR_FEATURES, RESPONSE_FEATURES, StyleArrays

FloatArray = npt.NDArray[np.float64]
MOST_SITUATIONS = 20
MOST_TIE = 5.0  # of the shift of a tie's log-probability, either way
# The languages of n battles, asked for where a situation needs them.
Languages = Callable[[], list[str]]


@dataclass(frozen=True)
class Situation:
    """When a battle is away from home in one respect, and what is done about it.

    Args:
        about: what a reader is told, such as "not in English".
        keep: share of the log-probabilities that is kept, 0 to 1.
        tie: added to the log-probability of a tie, within ±`MOST_TIE`.
        languages: at home; the situation is any other one that `arena_data.style.languages` guesses. Empty: not asked.
        feature: one of `RESPONSE_FEATURES` (of either response) or `PAIR_FEATURES`. Empty: not asked.
        low, high: at home; the situation is a feature below or above. None: no limit.

    Raises: ValueError for anything else, or for neither or both of a language and a feature.
    """

    about: str
    keep: float
    tie: float = 0.0
    languages: tuple[str, ...] = ()
    feature: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.about, str) or not 0 < len(self.about) <= 200 or "\n" in self.about:
            raise ValueError(f"a situation's 'about' is {self.about!r}; expected a line of text")
        if not _is_number(self.keep) or not 0 <= self.keep <= 1:
            raise ValueError(f"a situation's 'keep' is {self.keep!r}; expected a number from 0 to 1")
        if not _is_number(self.tie) or abs(self.tie) > MOST_TIE:
            raise ValueError(f"a situation's 'tie' is {self.tie!r}; expected a number within ±{MOST_TIE:g}")
        names = self.languages
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"a situation's 'languages' are {names!r}; expected a list of names")
        object.__setattr__(self, "languages", tuple(names))
        if bool(names) == bool(self.feature):
            raise ValueError(f"the situation {self.about!r} has neither or both of 'languages' and 'feature'")
        if self.feature and self.feature not in (*RESPONSE_FEATURES, *PAIR_FEATURES):
            raise ValueError(f"a situation's 'feature' is {self.feature!r}; expected a style feature")
        limits = [limit for limit in (self.low, self.high) if limit is not None]
        if (
            not all(_is_number(limit) for limit in limits)
            or limits != sorted(limits)
            or bool(limits) != bool(self.feature)
        ):
            raise ValueError(f"the situation {self.about!r} has the limits {self.low!r} and {self.high!r}")

    def holds(self, style: StyleArrays, languages: Languages) -> npt.NDArray[np.bool_]:
        """bool [n]: the battles that are in it."""
        if self.languages:
            return np.asarray([language not in self.languages for language in languages()], dtype=bool)
        if self.feature in RESPONSE_FEATURES:
            column = RESPONSE_FEATURES.index(self.feature)
            values = np.stack([style.a[:, column], style.b[:, column]]).astype(np.float64)
        else:
            values = style.pair[None, :, PAIR_FEATURES.index(self.feature)].astype(np.float64)
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        return np.asarray(((values < low) | (values > high)).any(axis=0))


@dataclass(frozen=True)
class AwayRule:
    """The prior (P(A) = P(B), and P(tie)) and the situations. Raises: ValueError for anything else."""

    prior: tuple[float, float, float]
    situations: tuple[Situation, ...] = ()

    def __post_init__(self) -> None:
        prior = self.prior
        if not isinstance(prior, list | tuple) or len(prior) != 3 or not all(map(_is_number, prior)):
            raise ValueError(f"'prior' is {prior!r}; expected three numbers")
        if min(prior) <= 0 or abs(sum(prior) - 1) > 1e-6 or prior[0] != prior[1]:
            raise ValueError(f"'prior' is {prior!r}; expected shares above 0 that sum to 1, of A as of B")
        if len(self.situations) > MOST_SITUATIONS:
            raise ValueError(f"{len(self.situations)} situations; expected at most {MOST_SITUATIONS}")
        object.__setattr__(self, "prior", tuple(map(float, prior)))

    def apply(self, log_probs: FloatArray, style: StyleArrays, languages: Languages) -> FloatArray:
        """log_probs: float64 [n, 3], calibrated. Returns: the same shape, normalised, and swap-exact if it was."""
        keep, tie = np.ones(len(log_probs)), np.zeros(len(log_probs))
        for situation in self.situations:
            holds = situation.holds(style, languages)
            keep = np.where(holds, keep * situation.keep, keep)
            tie = np.where(holds, tie + situation.tie, tie)
        away = (keep < 1) | (tie != 0)
        drawn_in = keep[:, None] * log_probs + (1 - keep[:, None]) * np.log(self.prior)
        drawn_in[:, 2] += tie
        return np.where(away[:, None], log_softmax(drawn_in, axis=1), log_probs)

    def told(self, style: StyleArrays, languages: Languages) -> list[list[str]]:
        """Of each of n battles, the `about` of the situations that it is in."""
        holds = [(situation.about, situation.holds(style, languages)) for situation in self.situations]
        return [[about for about, battles in holds if battles[row]] for row in range(len(style.similarity))]

    def to_json(self) -> dict[str, Any]:
        """Of JSON's own types; `from_json` is the inverse."""
        situations = [asdict(one) | {"languages": list(one.languages)} for one in self.situations]
        return {"prior": list(self.prior), "situations": situations}

    @classmethod
    def from_json(cls, stored: Any) -> "AwayRule":
        """Raises: ValueError, in one line, for anything but what `to_json` makes."""
        if not isinstance(stored, dict) or set(stored) != {"prior", "situations"}:
            raise ValueError("'away' is no object of 'prior' and 'situations'")
        if not isinstance(stored["situations"], list):
            raise ValueError(f"'situations' is a {type(stored['situations']).__name__}; expected a list")
        known = Situation.__dataclass_fields__
        for one in stored["situations"]:
            if not isinstance(one, dict) or not {"about", "keep"} <= set(one) <= set(known):
                raise ValueError("a situation is no object of 'about', 'keep' and what else a situation has")
        return cls(stored["prior"], tuple(Situation(**one) for one in stored["situations"]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
