"""What the demo page shows of a battle, as HTML: three bars, what a swap changes, what style contributed.

Every text here is a number or a name of this project's own; nothing that a visitor typed is put into HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arena_data.reading.in_memory import make_battles
from arena_data.style.features import RESPONSE_FEATURES, style_arrays
from reward_model.api import Probabilities, RewardModel
from reward_model.model.four_outcomes import usable
from reward_model.model.style_head import StyleHead

SHOWN_FEATURES = 6
_COLOURS = {"A is better": "#0072b2", "B is better": "#d55e00", "tie": "#8b8f96"}


@dataclass(frozen=True)
class Comparison:
    """One battle as the page shows it.

    Args:
        probabilities, swapped: with the responses as given, and exchanged.
        margin, tie_strength: before calibration.
        contributions: (feature, what it adds to the margin), largest first; empty without a style head.
        tie_contribution: what style adds to the tie strength.
        usable: P(usable) of A and of B, of a model with an absolute zero.
    """

    probabilities: Probabilities
    swapped: Probabilities
    margin: float
    tie_strength: float
    contributions: Sequence[tuple[str, float]] = ()
    tie_contribution: float = 0.0
    usable: tuple[float, float] | None = None


def compare(model: RewardModel, prompt: str, a: str, b: str, *, style: bool) -> Comparison:
    """Reads a battle in both orders. Raises: ScoringError where a text cannot be scored."""
    member = model.run.member if style else model.run.plain
    prediction = model.run.predicted(member, "raise", [prompt, prompt], [a, b], [b, a])
    scores = prediction.scores
    assert scores is not None  # a run always has them
    first, second = (Probabilities(*map(float, row)) for row in np.exp(prediction.log_probs))
    head = model.run.member.run.style if style else None
    contributions, tie = style_contributions(head, prompt, a, b) if head else ([], 0.0)
    both = usable([scores.reward_a[0], scores.reward_b[0]]).tolist() if scores.grounded else None
    margin, tie_strength = float(scores.margin[0]), float(scores.tie_strength[0])
    return Comparison(first, second, margin, tie_strength, contributions, tie, both and (both[0], both[1]))


def style_contributions(head: StyleHead, prompt: str, a: str, b: str) -> tuple[list[tuple[str, float]], float]:
    """What each style feature adds to the margin, a·(s_A − s_B) term by term, largest first; and to the tie strength."""
    style = style_arrays(make_battles([prompt], [a], [b]), progress=False)
    a, b = head.scale.sides(style)
    terms = (a - b)[0] * head.style_reward
    tie = float(head.scale.pairs(style)[0] @ head.tie_weights)
    named = sorted(zip(RESPONSE_FEATURES, terms.tolist(), strict=True), key=lambda term: -abs(term[1]))
    return named, tie


def bars(probabilities: Probabilities) -> str:
    """Three bars, readable without their colours."""
    rows = []
    for (name, colour), share in zip(_COLOURS.items(), probabilities, strict=True):
        percent = f"{100 * share:.1f} %"
        rows.append(
            f'<div role="img" aria-label="{name}: {percent}" style="display:flex;align-items:center;margin:.5rem 0">'
            f'<span style="width:7rem">{name}</span>'
            f'<span style="flex:1;background:rgba(128,128,128,.15);border-radius:4px"><span style="display:block;'
            f'width:{100 * share:.2f}%;height:1.6rem;background:{colour};border-radius:4px"></span></span>'
            f'<span style="width:5rem;text-align:right;font-variant-numeric:tabular-nums">{percent}</span></div>'
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def usable_line(found: Comparison) -> str:
    """How likely each response is usable; nothing for a model that knows no absolute zero."""
    if found.usable is None:
        return ""
    a, b = found.usable
    return f'<p class="usable">Usable, that is better than no response: A {100 * a:.1f} %, B {100 * b:.1f} %.</p>'


def swap_line(found: Comparison) -> str:
    """What exchanging the responses changes."""
    p, s = found.probabilities, found.swapped
    most = max(abs(p.a - s.b), abs(p.b - s.a), abs(p.tie - s.tie))
    told = f"The order makes a difference of {100 * most:.2f} points."
    if most < 1e-4:
        told = "Each probability went with its response: the order changes nothing."
    return (
        f'<p class="swap">With the responses exchanged: A {100 * s.a:.1f} %, B {100 * s.b:.1f} %, tie {100 * s.tie:.1f} %. '
        f"{told}</p>"
    )


def style_table(found: Comparison) -> str:
    """The largest contributions of style, and all of them together."""
    if not found.contributions:
        return '<p class="style">Style is off: what length and format explain of people’s votes is left out.</p>'
    total = sum(value for _, value in found.contributions)
    shown = [term for term in found.contributions[:SHOWN_FEATURES] if term[1]]
    rows = "".join(f"<tr><td>{name}</td><td>{value:+.3f}</td></tr>" for name, value in shown)
    return (
        f'<table class="style"><caption>Margin {found.margin:+.3f} in favour of A, of which style {total:+.3f}; '
        f"tie strength {found.tie_strength:+.3f}, of which style {found.tie_contribution:+.3f}</caption>"
        f"<thead><tr><th>style feature</th><th>adds to the margin</th></tr></thead><tbody>{rows}</tbody></table>"
    )
