"""The rule that a judge keeps away from home, fitted by leaving one source out.

Each source is predicted by a fit that has not learned from it; the arena's own battles are predicted out of fold. In each
situation, each source with enough battles says which share of the judge's log-probabilities is best there, the rest being
the prior's. The rule keeps the least of these shares, rounded down: it is never sharper than what held in any source.

How often people tie is a habit of the source and not of the situation. So each source has a shift of ties of its own, and
a source without ties is asked who wins, given that nobody ties.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import datasets
import numpy as np

from arena_data.style.features import StyleArrays, style_arrays
from arena_data.style.languages import guessed_languages_of
from reward_model.baselines.base import FloatArray, verdicts_of
from reward_model.calibration.softmax_fit import fit_logits
from reward_model.pretrained.away import AwayRule, Situation

LEAST = 30  # battles of a source in a situation that have a say
STEPS = 20  # shares are rounded down to one in so many
# Of a tie where none was recorded: it cannot happen.
_NEVER = -1e9


class SourcePredictions(NamedTuple):
    """Battles of a source, and what a fit without it says of them: log_probs float64 [n, 3], calibrated, without a rule.

    The style features and guessed languages are the battles'.
    """

    verdicts: FloatArray
    log_probs: FloatArray
    style: StyleArrays
    languages: list[str]

    @staticmethod
    def of(battles: datasets.Dataset, log_probs: FloatArray) -> "SourcePredictions":
        style = style_arrays(battles, num_proc=1, progress=False)
        return SourcePredictions(verdicts_of(battles), log_probs, style, guessed_languages_of(battles))

    def rows(self, chosen: np.ndarray) -> "SourcePredictions":
        """chosen: bool [n]."""
        style = StyleArrays(self.style.a[chosen], self.style.b[chosen], self.style.similarity[chosen])
        languages = [name for name, kept in zip(self.languages, chosen, strict=True) if kept]
        return SourcePredictions(self.verdicts[chosen], self.log_probs[chosen], style, languages)

    def inside(self, situation: Situation) -> "SourcePredictions":
        """The battles that are in the situation."""
        return self.rows(situation.holds(self.style, lambda: self.languages))

    def ruled(self, rule: AwayRule) -> FloatArray:
        """float64 [n, 3], as a user has them."""
        return rule.apply(self.log_probs, self.style, lambda: self.languages)


def fitted_rule(prior: FloatArray, candidates: Sequence[Situation], sources: Sequence[SourcePredictions]) -> AwayRule:
    """The situations in which some source asks for less than the whole judge.

    Args:
        prior: float64 [3].
        candidates: their shares kept are not read.
        sources: the arena's own battles among them.
    """
    kept = [(candidate, least_share(prior, candidate, sources)) for candidate in candidates]
    return AwayRule(tuple(prior.tolist()), tuple(replace(one, keep=share) for one, share in kept if share < 1))


def least_share(prior: FloatArray, situation: Situation, sources: Sequence[SourcePredictions]) -> float:
    """From 0 to 1, a multiple of 1 / `STEPS`; 1 where no source has `LEAST` battles in the situation."""
    shares = [1.0]
    for source in sources:
        inside = source.inside(situation)
        if len(inside.verdicts) >= LEAST:
            shares.append(best_share(prior, inside.verdicts, inside.log_probs))
    return math.floor(min(shares) * STEPS + 1e-9) / STEPS


def best_share(prior: FloatArray, verdicts: FloatArray, log_probs: FloatArray) -> float:
    """Of the judge's log-probabilities, from 0 to 1, at the lowest log loss. verdicts, log_probs: float64 [n, 3]."""
    offset = np.tile(np.log(prior), (len(verdicts), 1))
    ties = np.zeros((len(verdicts), 3))
    if verdicts[:, 2].any():
        ties[:, 2] = 1
    else:
        offset[:, 2] = _NEVER
    design = np.stack([log_probs - np.log(prior), ties], axis=2)
    # As good as none: the shift of ties must not run away, nor be without a minimum where it is not asked for.
    share, _ = fit_logits(design, offset, verdicts, np.array([0.0, 1e-3]))
    return float(np.clip(share, 0, 1))
