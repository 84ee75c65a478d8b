"""The audit's pictures: what goes with a win on real battles, what a change of text does, and the pull of length."""

from collections.abc import Callable
from typing import Any

import numpy as np

from arena_data.webpage.drawing import ACCENT, MUTED, VERDICT_COLOURS, Picture, open_canvas, shorten
from reward_model.audit.observed import LEAST_BATTLES
from reward_model.report.numbers import changed_rows
from reward_model.report.quality_pictures import dots
from reward_model.report.text import is_clear, signed

Figures = dict[str, Any]

CLOSED = VERDICT_COLOURS["B"]  # the style head closed


def observed_rows(audit: Figures) -> list[tuple[str, Figures]]:
    """Every effect on real battles, with the words for it, in the order of the page."""
    return [
        ("shown as A", audit["position"]["observed"]),
        ("twice as long", audit["verbosity"]["per_doubling"]),
        *(
            (row["label"], row)
            for family in ("formatting", "self_promotion", "language")
            for row in audit[family]["observed"]
        ),
    ]


def _frame(canvas: Any, names: list[str]) -> None:
    canvas.axes.axvline(0, color=MUTED, linewidth=1)
    canvas.axes.set_yticks(range(len(names)), [shorten(name, 30) for name in names])
    canvas.axes.set_ylim(len(names) - 0.5, -0.5)
    canvas.axes.set_xlabel("points of win share")


def draw_observed(figures: Figures) -> Picture | None:
    audit, closed = figures["audit"], figures["audit_style_off"]
    if audit is None:
        return None
    rows = [(name, row) for name, row in observed_rows(audit) if row["people"]["battles"] >= LEAST_BATTLES]
    if not rows:
        return None
    places = np.arange(len(rows))
    with open_canvas("audit-observed", 1.0 + 0.38 * len(rows)) as canvas:
        step = 0.22 if closed else 0.14
        dots(
            canvas.axes,
            places - step,
            [row["people"] for _, row in rows],
            MUTED,
            scale=100,
            hollow=True,
            label="people",
        )
        at = places if closed else places + step
        dots(canvas.axes, at, [row["model"] for _, row in rows], ACCENT, scale=100, label="this model")
        if closed:
            theirs = dict(observed_rows(closed))
            without = [theirs[name]["model"] for name, _ in rows]
            dots(canvas.axes, places + step, without, CLOSED, scale=100, marker="s", label="style head closed")
        _frame(canvas, [name for name, _ in rows])
        canvas.figure.legend(loc="outside upper right", ncols=3)
    length = audit["verbosity"]["per_doubling"]
    model, people = (signed(_points(length[key])) for key in ("model", "people"))
    return Picture(f"Twice the length goes with {model} points for the model, {people} for people", canvas.svg)


def _points(estimate: Figures) -> float | None:
    return None if estimate["value"] is None else 100 * float(estimate["value"])


def draw_changed(figures: Figures) -> Picture | None:
    audit, closed = figures["audit"], figures["audit_style_off"]
    rows = [row for row in changed_rows(audit) if row["battles"] >= LEAST_BATTLES] if audit else []
    if not rows:
        return None
    places = np.arange(len(rows))
    with open_canvas("audit-changed", 1.0 + 0.34 * len(rows)) as canvas:
        step = 0.16 if closed else 0.0
        dots(canvas.axes, places - step, [row["win_share"] for row in rows], ACCENT, scale=100, label="this model")
        if closed:
            theirs = {row["name"]: row["win_share"] for row in changed_rows(closed)}
            without = [theirs.get(row["name"]) for row in rows]
            dots(canvas.axes, places + step, without, CLOSED, scale=100, marker="s", label="style head closed")
            canvas.figure.legend(loc="outside upper right", ncols=2)
        _frame(canvas, [row["label"] for row in rows])
    swayed = [row for row in rows if is_clear(row["win_share"])]
    if not swayed:
        return Picture("No change of formatting alone clearly sways the model", canvas.svg)
    most = max(swayed, key=lambda row: abs(row["win_share"]["value"]))
    value = signed(_points(most["win_share"]))
    return Picture(f"The same response, {most['label']}: {value} points, the largest of all changes", canvas.svg)


def draw_length_curve(figures: Figures) -> Picture | None:
    audit, closed = figures["audit"], figures["audit_style_off"]
    if audit is None or len(audit["verbosity"]["curve"]) < 2:
        return None
    curve = audit["verbosity"]["curve"]
    at = np.array([row["doublings"] for row in curve])
    with open_canvas("audit-length", 2.9, grid="both") as canvas:
        canvas.axes.axhline(50, color=MUTED, linewidth=1)
        dots(
            canvas.axes,
            at,
            [row["people"] for row in curve],
            MUTED,
            scale=100,
            hollow=True,
            upright=True,
            label="people",
        )
        lines = [(curve, ACCENT, "-", "this model")]
        if closed:
            lines.append((closed["verbosity"]["curve"], CLOSED, "--", "style head closed"))
        for rows, colour, dash, label in lines:
            x, y = ([row["doublings"] for row in rows], [100 * row["model"]["value"] for row in rows])
            canvas.axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.8, label=label)
        canvas.axes.set_xlabel("A's length over B's, doublings (+1: A is twice as long)")
        canvas.axes.set_ylabel("A's win share, %")
        canvas.figure.legend(loc="outside upper right", ncols=3)
    stance = audit["verbosity"]["per_doubling"]["stance"]
    words = {
        "copies": "The model favours length as much as people do",
        "amplifies": "The model favours length more than people do",
        "dampens": "The model favours length less than people do",
        "adds its own": "The model uses length where people do not",
        "reverses": "The model and people disagree about length",
    }
    return Picture(words.get(stance, "Length: too few battles to tell model and people apart"), canvas.svg)


def draw_language_ties(figures: Figures) -> Picture | None:
    audit = figures["audit"]
    rows = audit["language"]["languages"] if audit else []
    if len(rows) < 2:
        return None
    places = np.arange(len(rows))
    with open_canvas("audit-language", 1.0 + 0.34 * len(rows)) as canvas:
        dots(
            canvas.axes,
            places - 0.14,
            [r["tie"]["people"] for r in rows],
            MUTED,
            scale=100,
            hollow=True,
            label="people",
        )
        dots(canvas.axes, places + 0.14, [row["tie"]["model"] for row in rows], ACCENT, scale=100, label="this model")
        canvas.axes.set_yticks(range(len(rows)), [shorten(row["language"], 30) for row in rows])
        canvas.axes.set_ylim(len(rows) - 0.5, -0.5)
        canvas.axes.set_xlabel("ties, % of battles")
        canvas.figure.legend(loc="outside upper right", ncols=2)
    off = [row["language"] for row in rows if is_clear(row["tie"]["difference"])]
    title = (
        f"Ties are off in: {', '.join(map(shorten, off))}"
        if off
        else "Ties are as common as people make them, everywhere"
    )
    return Picture(title, canvas.svg)


AUDIT_PICTURES: dict[str, Callable[[Figures], Picture | None]] = {
    "audit-observed": draw_observed,
    "audit-changed": draw_changed,
    "audit-length": draw_length_curve,
    "audit-language": draw_language_ties,
}
