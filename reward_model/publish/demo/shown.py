"""What the demo page shows of a battle, as HTML: three bars, both responses with their rewards, what style pulled.

All that a visitor typed is escaped here or rendered by `reward_model.publish.demo.responses`. Colours are those of the
page's style sheet, and every bar has its number beside it in text.
"""

import html
import math
from collections.abc import Sequence

from arena_data.webpage.drawing import percent
from reward_model.publish.demo.comparison import Comparison
from reward_model.publish.demo.responses import response_html
from reward_model.report.text import plain, signed

MOST_GROUPS = 7
ALL_STYLE = "all style"
# In units of the margin: what is less would read as zero.
LEAST_PULL = 0.005


def comparison_html(comparison: Comparison, prompt: str, a: str, b: str) -> str:
    """The whole result of a comparison."""
    rewards, usable = comparison.rewards or (None, None), comparison.usable or (None, None)
    cards = [
        response_card(side, text, reward, share)
        for side, text, reward, share in zip("AB", (a, b), rewards, usable, strict=True)
    ]
    asked = f'<p class="asked" dir="auto"><span>Prompt</span>{html.escape(prompt)}</p>'
    lead = f'<p class="lead">{answer(comparison)}</p>'
    said = f"{asked}{lead}{bars(comparison)}{swap_line(comparison)}{_notes(comparison.cautions)}"
    below = f'<div class="below">{_notes(_reward_notes(comparison))}</div>'
    return (
        f'<section class="result" aria-label="The comparison"><div class="verdict">{said}</div>'
        f'<div class="cards">{"".join(cards)}{below}</div>{style_pull(comparison)}</section>'
    )


def answer(comparison: Comparison) -> str:
    """The likeliest verdict in words."""
    a, b, tie = comparison.probabilities
    if tie >= max(a, b):
        return f"People would most likely call it a tie: {_percent(tie)}."
    better, share = ("A", a) if a >= b else ("B", b)
    return f"People would most likely prefer {better}: {_percent(share)}."


def _percent(share: float) -> str:
    return percent(share, 0).replace(" ", "\N{NO-BREAK SPACE}")


def bars(comparison: Comparison) -> str:
    """Three bars, readable without their colours."""
    a, b, tie = comparison.probabilities
    rows = [
        f'<li class="{name}"><span class="name">{words}</span><span class="track" aria-hidden="true">'
        f'<span class="bar" style="width:{100 * share:.2f}%"></span></span>'
        f'<span class="figure">{percent(share)}</span></li>'
        for name, words, share in (("a", "A is better", a), ("tie", "tie", tie), ("b", "B is better", b))
    ]
    return f'<ul class="bars" aria-label="Probabilities">{"".join(rows)}</ul>'


def swap_line(comparison: Comparison) -> str:
    """What exchanging the responses changes."""
    p, s = comparison.probabilities, comparison.swapped
    most = max(abs(p.a - s.b), abs(p.b - s.a), abs(p.tie - s.tie))
    told = f"The order makes a difference of {100 * most:.2f} points."
    if most < 1e-4:
        told = "Each probability went with its response: the order changes nothing."
    return (
        f'<p class="swap">With the responses exchanged: A {percent(s.a)}, tie {percent(s.tie)}, B {percent(s.b)}. '
        f"{told}</p>"
    )


def response_card(side: str, text: str, reward: float | None, usable: float | None) -> str:
    """A response with its figures. reward, usable: None where the model has none."""
    figures = []
    if reward is not None:
        figures.append(f"reward {signed(reward, 2)}")
    if usable is not None:
        figures.append(f"usable {percent(usable)}")
    facts = f'<p class="facts">{" · ".join(figures)}</p>' if figures else ""
    return (
        f'<article class="card {side.lower()}"><header><h2>Response {side}</h2>{facts}</header>'
        f'<div class="response" dir="auto" role="group" tabindex="0" aria-label="Text of response {side}">'
        f"{response_html(text)}</div></article>"
    )


def style_pull(comparison: Comparison) -> str:
    """What each kind of style added to the margin, as bars toward A or B, and all of it together."""
    if not comparison.style:
        return ""
    total = sum(value for _, value in comparison.style)
    shown = [(words, value) for words, value in comparison.style[:MOST_GROUPS] if abs(value) >= LEAST_PULL]
    longest = max(abs(value) for _, value in [*shown, ("", total), ("", LEAST_PULL)])
    rows = "".join(
        f'<tr{" class=all" if words == ALL_STYLE else ""}><th scope="row">{words}</th>'
        f'<td class="pull" aria-hidden="true">{_pull_bar(value / longest)}</td><td class="figure">{toward(value)}</td></tr>'
        for words, value in [*shown, (ALL_STYLE, total)]
    )
    return (
        '<div class="style"><h2>What style pulled</h2><table><thead><tr><th scope="col">style</th>'
        '<th scope="col" aria-hidden="true" class="ends"><span>← A</span><span>B →</span></th>'
        f'<th scope="col">pulls</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="note">{_margin_note(comparison)}</p></div>'
    )


def toward(value: float) -> str:
    """A pull in words; positive is toward A."""
    if abs(value) < LEAST_PULL:
        return "neither way"
    return f"toward {'A' if value > 0 else 'B'} {plain(abs(value), 2)}"


def _pull_bar(share: float) -> str:
    side, width = ("a", share) if share > 0 else ("b", -share)
    return f'<span class="{side}" style="width:{50 * width:.1f}%"></span>'


def _margin_note(comparison: Comparison) -> str:
    unit = f"A pull of 1 makes a win {math.e:.1f} times as likely against a loss, before calibration."
    if comparison.margin is None or comparison.tie_strength is None:
        return unit
    tie = "likelier" if comparison.style_tie > 0 else "less likely"
    return (
        f"{unit} The whole margin, with what the words say: {toward(comparison.margin)}. "
        f"Style makes a tie {tie}: {signed(comparison.style_tie, 2)} of a tie strength of "
        f"{signed(comparison.tie_strength, 2)}."
    )


def _notes(lines: Sequence[str]) -> str:
    return "".join(f'<p class="note">{html.escape(line)}</p>' for line in lines)


def _reward_notes(comparison: Comparison) -> list[str]:
    lines = []
    if comparison.rewards is not None:
        lines.append(f"Rewards compare responses to one prompt ({comparison.reward_note}).")
    if comparison.usable is not None:
        lines.append("Usable: how likely people prefer the response to no response at all.")
    return lines
