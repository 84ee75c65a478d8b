"""One battle as the demo page shows it: both orders, the rewards, and what style pulls toward either response.

What a style feature adds to the margin is a sum, so it can be shown by itself. Features that measure one thing in several
ways pull against each other, and are shown as one: fourteen kinds of length are "length".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from arena_data.style.features import RESPONSE_FEATURES, StyleArrays, style_of_texts
from arena_data.style.lengths import LENGTH_FEATURES
from reward_model.api import Probabilities, RewardModel
from reward_model.model.four_outcomes import usable
from reward_model.model.style_head import StyleHead
from reward_model.predict.baseline_texts import BaselineTexts
from reward_model.predict.run_texts import RunTexts

FloatArray = npt.NDArray[np.float64]
Pair = tuple[float, float]

# What the page calls a group of style features; each feature is in one group.
STYLE_GROUPS: dict[str, tuple[str, ...]] = {
    "length": (*LENGTH_FEATURES, "log_words", "log_lines"),
    "lists": ("log_bullets", "log_numbered"),
    "headings": ("log_headings",),
    "bold": ("log_bold",),
    "tables": ("log_tables",),
    "code": ("log_code_blocks", "log_code_lines", "log_inline_code"),
    "questions, exclamations": ("log_questions", "log_exclamations"),
    "emoji": ("log_emoji",),
    "refusals": ("refusal", "disclaimer"),
    "self-praise": ("self_naming", "self_praise"),
    "unfinished turns": ("empty", "unfinished"),
    "repetition": ("repeated_lines", "repeated_four_grams"),
    "another script": ("other_script",),
}


@dataclass(frozen=True)
class Comparison:
    """One battle.

    Args:
        probabilities, swapped: with the responses as given, and exchanged.
        rewards: of A and of B, without style where the model can leave it out; None where a response has none.
        reward_note: what the rewards leave out or count.
        usable: P(usable) of A and of B, of a model with an absolute zero.
        margin, tie_strength: before calibration; None where the model is no sum of them.
        style: (group of features, what it adds to the margin), largest first; empty where that is not known.
        style_tie: what style adds to the tie strength.
        cautions: lines to show beside the answer.
    """

    probabilities: Probabilities
    swapped: Probabilities
    rewards: Pair | None = None
    reward_note: str = ""
    usable: Pair | None = None
    margin: float | None = None
    tie_strength: float | None = None
    style: Sequence[tuple[str, float]] = ()
    style_tie: float = 0.0
    cautions: Sequence[str] = field(default_factory=tuple)


def compare(model: RewardModel, prompt: str, a: str, b: str, *, style: bool = True) -> Comparison:
    """Reads a battle in both orders.

    Args:
        style: whether a run's style head is open; other models keep their style.

    Raises: ScoringError where a text cannot be scored.
    """
    if isinstance(model.scorer, RunTexts):
        return _of_run(model.scorer, prompt, a, b, style=style)
    scorer = model.scorer
    first, second = scorer.probabilities([prompt, prompt], [a, b], [b, a], "raise")
    rewards = scorer.rewards([prompt, prompt], [a, b], "raise") if scorer.reward_note else None
    terms = None
    if isinstance(scorer, BaselineTexts):
        terms = scorer.stored.baseline.style_terms(style_of_texts([[prompt]], [[a]], [[b]]))
    cautions = [f"{scorer.name}: {scorer.caution}."] if scorer.caution else []
    if away := scorer.away([prompt], [a], [b])[0]:
        cautions.append(f"Away from home ({'; '.join(away)}), so the answer is drawn towards the prior.")
    return Comparison(
        _probabilities(first),
        _probabilities(second),
        rewards=None if rewards is None else _pair(rewards),
        reward_note=scorer.reward_note or "",
        style=[] if terms is None else in_groups(terms[0]),
        cautions=cautions,
    )


def _of_run(run: RunTexts, prompt: str, a: str, b: str, *, style: bool) -> Comparison:
    member = run.member if style else run.plain
    prediction = run.predicted(member, "raise", [prompt, prompt], [a, b], [b, a])
    scores = prediction.scores
    assert scores is not None  # a run always has them
    first, second = np.exp(prediction.log_probs)
    head = member.run.style if member.options.style else None
    sides, tie = style_sides(head, prompt, a, b) if head else (np.zeros((2, 0)), 0.0)
    # A reward leaves out what style adds.
    rewards = np.array([scores.reward_a[0], scores.reward_b[0]]) - sides.sum(axis=1)
    alone = [style_sides(head, prompt, text, text)[0][0].sum() for text in (a, b)] if head else [0.0, 0.0]
    return Comparison(
        _probabilities(first),
        _probabilities(second),
        rewards=_pair(rewards) if run.reward_note else None,
        reward_note=run.reward_note or "",
        usable=_pair(usable(rewards + alone)) if scores.grounded else None,
        margin=float(scores.margin[0]),
        tie_strength=float(scores.tie_strength[0]),
        style=in_groups(sides[0] - sides[1]) if head else [],
        style_tie=tie,
    )


def style_sides(head: StyleHead, prompt: str, a: str, b: str) -> tuple[FloatArray, float]:
    """float64 [2, F], what each style feature adds to the reward of A and of B; and what style adds to the tie strength."""
    style: StyleArrays = style_of_texts([[prompt]], [[a]], [[b]])
    sides = np.stack(head.scale.sides(style))[:, 0] * head.style_reward.astype(np.float64)
    return sides, float(head.scale.pairs(style)[0] @ head.tie_weights)


def in_groups(terms: FloatArray) -> list[tuple[str, float]]:
    """What each group of features adds, largest first. terms: float64 [F], in the order of `RESPONSE_FEATURES`."""
    of_feature = dict(zip(RESPONSE_FEATURES, terms.tolist(), strict=True))
    sums = [(group, sum(of_feature[name] for name in names)) for group, names in STYLE_GROUPS.items()]
    return sorted(sums, key=lambda group: -abs(group[1]))


def _probabilities(row: FloatArray) -> Probabilities:
    return Probabilities(*map(float, row))


def _pair(values: FloatArray) -> Pair:
    return float(values[0]), float(values[1])
