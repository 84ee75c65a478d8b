"""The report's pictures of quality: log loss beside the peers', reliability, confusion, where it errs, the ranking."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from arena_data.schema import LABELS
from arena_data.webpage.drawing import (
    ACCENT,
    GRID,
    INK,
    MUTED,
    PAPER,
    VERDICT_COLOURS,
    Picture,
    open_canvas,
    percent,
    shorten,
    tints,
)
from reward_model.audit.observed import LEAST_BATTLES
from reward_model.evaluation.resampling import Estimate
from reward_model.report.numbers import best_peer, points_in_place
from reward_model.report.text import is_clear, plain

Figures = dict[str, Any]

MODELS_SHOWN = 30
LABEL_NAMES = {"A": "A wins", "B": "B wins", "tie": "tie"}


def dots(
    axes: Any, places: np.ndarray, estimates: list[Estimate | None], colour: str, *, scale: float = 1.0,
    hollow: bool = False, upright: bool = False, marker: str = "o", label: str | None = None,
) -> None:  # fmt: skip
    """A dot at each estimate with its interval as a line; what is not known stays blank."""
    known = [(place, e) for place, e in zip(places, estimates, strict=True) if e is not None and e["value"] is not None]
    if not known:
        return
    at = np.array([place for place, _ in known], dtype=float)
    middle = scale * np.array([e["value"] for _, e in known])
    ends = [scale * np.array([e["value"] if e[key] is None else e[key] for _, e in known]) for key in ("low", "high")]
    reach = np.abs(np.stack([middle - ends[0], ends[1] - middle]))
    style = {"fmt": marker, "color": colour, "markersize": 5, "linewidth": 1.5, "label": label}
    if hollow:
        style |= {"markerfacecolor": PAPER, "markeredgewidth": 1.4}
    if upright:
        axes.errorbar(at, middle, yerr=reach, **style)
    else:
        axes.errorbar(middle, at, xerr=reach, **style)


def draw_log_loss(figures: Figures) -> Picture | None:
    quality = figures["quality"]
    rows: list[tuple[str, Estimate, Any]] = [("this model", quality["metrics"]["log_loss"], None)]
    if quality["before_calibration"]:
        before = quality["before_calibration"]
        rows.append(("before calibration", before["log_loss"], before["gain"]))
    rows += [(name, peer["log_loss"], peer["gain"]) for name, peer in quality["peers"].items()]
    with open_canvas("log-loss", 0.8 + 0.32 * len(rows)) as canvas:
        canvas.axes.axvline(rows[0][1]["value"], color=ACCENT, linewidth=0.8, linestyle="--")
        dots(canvas.axes, np.arange(1), [rows[0][1]], ACCENT)
        dots(canvas.axes, np.arange(1, len(rows)), [row[1] for row in rows[1:]], MUTED, hollow=True)
        canvas.axes.set_yticks(range(len(rows)), [shorten(row[0]) for row in rows])
        canvas.axes.set_ylim(len(rows) - 0.5, -0.5)
        canvas.axes.set_xlabel("log loss, nats a battle: less is better")
    best = best_peer(quality)
    if not best:
        return Picture(f"Log loss is {plain(rows[0][1]['value'], 4)}", canvas.svg)
    gain = best[1]["gain"]
    verb = "better" if gain["value"] > 0 else "worse"
    sure = "" if is_clear(gain) else ", too little to be sure"
    amount = plain(abs(gain["value"]), 4)
    return Picture(f"{amount} {verb} than the best simple system ({shorten(best[0])}){sure}", canvas.svg)


def draw_reliability(label: str, figures: Figures) -> Picture | None:
    stages = figures["calibration"]
    after = stages["after"]["curves"][label]
    name = f"reliability-{label.lower()}"
    with open_canvas(name, 3.3, 3.3, grid="both") as canvas:
        top = max(
            *(100 * row["predicted"] for stage in stages.values() for row in stage["curves"][label]),
            *(100 * (row["seen"]["high"] or row["seen"]["value"]) for row in after),
        )
        end = min(100.0, 10 * np.ceil((top + 2) / 10))
        canvas.axes.plot([0, end], [0, end], color=MUTED, linewidth=1, linestyle="--")
        if "before" in stages:
            before = stages["before"]["curves"][label]
            canvas.axes.plot(
                [100 * row["predicted"] for row in before], [100 * row["seen"]["value"] for row in before], "o-",
                color=MUTED, markersize=3.5, linewidth=1, markerfacecolor=PAPER, label="before calibration",
            )  # fmt: skip
        places = np.array([100 * row["predicted"] for row in after])
        colour = VERDICT_COLOURS[label] if label != "tie" else ACCENT
        dots(canvas.axes, places, [row["seen"] for row in after], colour, scale=100, upright=True, label="as reported")
        canvas.axes.set(xlim=(0, end), ylim=(0, end), aspect="equal")
        canvas.axes.set_xlabel(f"predicted, {LABEL_NAMES[label]}, %")
        canvas.axes.set_ylabel("seen, %")
        canvas.axes.legend(loc="upper left", handletextpad=0.4)
    inside = points_in_place(after)
    names = {"A": "A wins", "B": "B wins", "tie": "Ties"}
    return Picture(f"{names[label]}: {inside} of {len(after)} points are where they should be", canvas.svg)


def draw_confusion(figures: Figures) -> Picture | None:
    counts = np.array(figures["confusion"]["battles"])
    voted = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, voted, out=np.zeros_like(counts), where=voted > 0)
    with open_canvas("confusion", 2.7, 3.8, grid="both") as canvas:
        canvas.axes.grid(False)
        canvas.axes.pcolormesh(shares, cmap=tints(), vmin=0, vmax=1, edgecolors=GRID, linewidth=1)
        for row, column in np.ndindex(3, 3):
            # Ink on a light cell, paper on one that is nearly the accent's colour: both follow the page.
            colour = PAPER if shares[row, column] > 0.55 else INK
            text = f"{percent(shares[row, column], 0)}\n{counts[row, column]:,.0f}"
            canvas.axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour)
        names = [LABEL_NAMES[label] for label in LABELS]
        canvas.axes.set_xticks(np.arange(3) + 0.5, names)
        canvas.axes.set_yticks(np.arange(3) + 0.5, names)
        canvas.axes.invert_yaxis()
        canvas.axes.set_xlabel("the model's likeliest verdict")
        canvas.axes.set_ylabel("what people said")
    right = np.trace(counts) / counts.sum()
    called = counts[:, 2].sum() / counts.sum()
    return Picture(f"The likeliest verdict is right in {percent(right)}; it is a tie in {percent(called)}", canvas.svg)


_SLICE_WORDS = {
    "length": "characters of the longer response",
    "turns": "number of turns",
    "language": "language",
    "pair": "pair of models",
    "truncated": "what the model read",
}


def draw_slices(kind: str, figures: Figures) -> Picture | None:
    rows = figures["slices"].get(kind, [])
    if len(rows) < 2:
        return None
    whole = figures["quality"]["metrics"]["log_loss"]["value"]
    with open_canvas(f"slices-{kind}", 0.75 + 0.26 * len(rows)) as canvas:
        canvas.axes.axvline(whole, color=MUTED, linewidth=1, linestyle="--")
        many = np.array([row["log_loss"]["battles"] >= LEAST_BATTLES for row in rows])
        for places, colour in ((np.flatnonzero(many), ACCENT), (np.flatnonzero(~many), GRID)):
            dots(canvas.axes, places, [rows[place]["log_loss"] for place in places], colour)
        canvas.axes.set_yticks(range(len(rows)), [shorten(row["name"], 30) for row in rows])
        canvas.axes.set_ylim(len(rows) - 0.5, -0.5)
        canvas.axes.set_xlabel("log loss (dashed: all battles)")
    apart = [
        row
        for row in rows
        if row["log_loss"]["battles"] >= LEAST_BATTLES
        and row["log_loss"]["low"] is not None
        and not row["log_loss"]["low"] <= whole <= row["log_loss"]["high"]
    ]
    words = _SLICE_WORDS[kind]
    if not apart:
        return Picture(f"By {words}: no group stands out", canvas.svg)
    most = max(apart, key=lambda row: abs(row["log_loss"]["value"] - whole))
    side = "hardest" if most["log_loss"]["value"] > whole else "easiest"
    return Picture(f"By {words}: {side} is {shorten(most['name'], 40)}", canvas.svg)


def draw_model_ranking(figures: Figures) -> Picture | None:
    ranking = figures["ranking"]
    if ranking is None or len(ranking["models"]) < 2:
        return None
    battled = sorted(ranking["models"], key=lambda row: -row["battles"])[:MODELS_SHOWN]
    shown = [row for row in ranking["models"] if row in battled]
    places = np.arange(len(shown))

    def ends(key: str) -> list[Estimate | None]:
        return [{"value": row[key]["elo"], "low": row[key]["low"], "high": row[key]["high"]} for row in shown]

    with open_canvas("model-ranking", 1.0 + 0.23 * len(shown)) as canvas:
        canvas.axes.axvline(0, color=MUTED, linewidth=1)
        dots(canvas.axes, places - 0.17, ends("people"), MUTED, hollow=True, label="people")
        dots(canvas.axes, places + 0.17, ends("predicted"), ACCENT, label="this model")
        canvas.axes.set_yticks(places, [shorten(row["model"]) for row in shown])
        canvas.axes.set_ylim(len(shown) - 0.5, -0.5)
        canvas.axes.set_xlabel("strength, Elo points above the average model")
        canvas.figure.legend(loc="outside upper right", ncols=2)
    tau = ranking["kendall_tau"]
    agree = "no order to compare" if tau is None else f"rank correlation {plain(tau, 2)} (Kendall)"
    return Picture(f"The order of models by predictions and by people: {agree}", canvas.svg)


PICTURES: dict[str, Callable[[Figures], Picture | None]] = {
    "log-loss": draw_log_loss,
    **{f"reliability-{label.lower()}": partial(draw_reliability, label) for label in LABELS},
    "confusion": draw_confusion,
    **{f"slices-{kind}": partial(draw_slices, kind) for kind in _SLICE_WORDS},
    "model-ranking": draw_model_ranking,
}
