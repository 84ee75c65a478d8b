"""Pictures of models: their battles, who met whom, their strengths, and what the side they are shown on does to them.

Names are the data's own and may hold anything: they are shortened, never trusted. At most `MODELS_SHOWN` models are
drawn, the most battled ones; the tables beside the pictures hold all of them.
"""

import numpy as np
from matplotlib.colors import LogNorm

from arena_data.exploration.model_statistics import MODELS_SHOWN
from arena_data.exploration.pictures import interval_dots
from arena_data.exploration.shares import Figures
from arena_data.webpage.drawing import (
    ACCENT,
    LOST,
    MUTED,
    VERDICT_COLOURS,
    WON,
    Picture,
    open_canvas,
    percent,
    shorten,
    tints,
)

POSITION_SHOWN = 15


def draw_battles(figures: Figures) -> Picture | None:
    records = figures["models"]["records"][:MODELS_SHOWN]
    if not records:
        return None
    places = np.arange(len(records))
    with open_canvas("battles", 0.9 + 0.17 * len(records)) as canvas:
        unlabelled = np.array([row["battles"] - row["wins"] - row["ties"] - row["losses"] for row in records])
        parts = [
            ("won", np.array([row["wins"] for row in records]), WON),
            ("tied", np.array([row["ties"] for row in records]), VERDICT_COLOURS["tie"]),
            ("lost", np.array([row["losses"] for row in records]), LOST),
            ("no verdict or against itself", np.maximum(unlabelled, 0), ACCENT),
        ]
        left = np.zeros(len(records))
        for label, counts, colour in parts:
            if counts.sum() > 1e-6:
                canvas.axes.barh(places, counts, left=left, color=colour, height=0.75, label=label)
                left = left + counts
        canvas.axes.set_yticks(places, [shorten(row["model"]) for row in records])
        canvas.axes.set_ylim(len(records) - 0.5, -0.5)
        canvas.axes.set_xlabel("battles")
        canvas.figure.legend(loc="outside upper right", ncols=3)
    total = figures["models"]["models"]
    most = f"{shorten(records[0]['model'])} fought most, {records[0]['battles']:,} battles"
    return Picture(
        most if total <= MODELS_SHOWN else f"{most}; the {MODELS_SHOWN} most battled of {total:,} models", canvas.svg
    )


def draw_heat_map(figures: Figures) -> Picture | None:
    names = figures["models"]["heat_map"]["models"]
    counts = np.array(figures["models"]["heat_map"]["battles"], dtype=float)
    if len(names) < 2 or not counts.any():
        return None
    size = max(0.21 * len(names), 1.6)
    with open_canvas("heat-map", size + 1.9, size + 2.6, grid="both") as canvas:
        canvas.axes.grid(False)
        most = counts.max()
        # Counts run from one to thousands, and equal steps of a logarithm keep the small ones apart.
        mesh = canvas.axes.pcolormesh(
            np.ma.masked_equal(counts, 0), cmap=tints(), norm=LogNorm(1, max(most, 2)), edgecolors="none"
        )
        labels = [shorten(name) for name in names]
        middles = np.arange(len(names)) + 0.5
        canvas.axes.set_xticks(middles, labels, rotation=90)
        canvas.axes.set_yticks(middles, labels)
        canvas.axes.invert_yaxis()
        canvas.axes.set_aspect("equal")
        bar = canvas.figure.colorbar(mesh, ax=canvas.axes, shrink=0.5, aspect=25, pad=0.02)
        ticks = np.unique(np.geomspace(1, max(most, 2), 5).round().astype(int))
        bar.set_ticks(ticks.tolist(), labels=[f"{tick:,}" for tick in ticks])
        bar.minorticks_off()
        bar.outline.set_visible(False)
        bar.set_label("battles, log scale; blank: never met")
    cells = len(names) * (len(names) - 1) / 2
    met = np.count_nonzero(np.triu(counts, 1)) / cells
    shown = f"the {len(names)} most battled" if figures["models"]["models"] > len(names) else f"{len(names)}"
    return Picture(f"{percent(met, 0)} of the pairs among {shown} models ever met", canvas.svg, wide=len(names) > 12)


def draw_ranking(figures: Figures) -> Picture | None:
    ranking = figures["models"]["ranking"]
    if ranking is None:
        return None
    battled = {record["model"] for record in figures["models"]["records"][:MODELS_SHOWN]}
    rows = [row for row in ranking["models"] if row["model"] in battled]
    places = np.arange(len(rows))
    elo, low, high = (np.array([row[key] for row in rows]) for key in ("elo", "low", "high"))
    with open_canvas("ranking", 0.7 + 0.19 * len(rows)) as canvas:
        canvas.axes.axvline(0, color=MUTED, linewidth=1)
        canvas.axes.errorbar(
            elo, places, xerr=np.stack([elo - low, high - elo]), fmt="o", color=ACCENT, markersize=4, linewidth=1.3
        )
        canvas.axes.set_yticks(places, [shorten(row["model"]) for row in rows])
        canvas.axes.set_ylim(len(rows) - 0.5, -0.5)
        canvas.axes.set_xlabel("strength, Elo points above the average model, 95 % interval")
    best = rows[0]
    apart = len(rows) > 1 and best["low"] > rows[1]["high"]
    standing = "clear of all others" if apart else "its interval overlaps with others'"
    return Picture(
        f"{shorten(best['model'])} ranks first, {standing}" if len(rows) > 1 else "One model only", canvas.svg
    )


def draw_position(figures: Figures) -> Picture | None:
    share = figures["position"]["a_among_decided"]
    if share["share"] is None:
        return None
    records = figures["models"]["records"][:POSITION_SHOWN]
    with open_canvas("position", 1.15 + 0.26 * len(records)) as canvas:
        canvas.axes.axvline(50, color=MUTED, linewidth=1)
        canvas.axes.axhline(0.5, color=MUTED, linewidth=0.5)
        interval_dots(canvas.axes, np.array([0]), [share], VERDICT_COLOURS["A"])
        places = np.arange(1, len(records) + 1)
        sides = (("decided_win_share_as_a", -0.16, "A"), ("decided_win_share_as_b", 0.16, "B"))
        for key, offset, label in sides:
            interval_dots(canvas.axes, places + offset, [row[key] for row in records], VERDICT_COLOURS[label])
            canvas.axes.plot([], [], "o-", color=VERDICT_COLOURS[label], markersize=4, label=f"shown as {label}")
        names = ["all battles, side A", *(shorten(row["model"]) for row in records)]
        canvas.axes.set_yticks(range(len(names)), names)
        canvas.axes.set_ylim(len(names) - 0.5, -0.5)
        canvas.axes.set_xlim(-2, 102)
        canvas.axes.set_xlabel("wins, % of decided battles")
        if records:
            canvas.figure.legend(loc="outside upper right", ncols=2)
    value, fair = percent(share["share"]), share["low"] <= 0.5 <= share["high"]
    sight = "no sign that a side is favoured" if fair else "one side is favoured"
    return Picture(f"A wins {value} of decided battles: {sight}", canvas.svg)
