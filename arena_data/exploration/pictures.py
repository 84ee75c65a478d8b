"""The exploration page's pictures: plain numbers in (`arena_data.exploration.statistics.describe`), titled SVG out.

A title says what one sees, computed from the same numbers. There is no picture of nothing (no labels, no names, no
rows). A, B and tie have one colour each on the whole page; intervals are 95 % Wilson unless said.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from arena_data.exploration.shares import Figures
from arena_data.style.feature_words import feature_words
from arena_data.webpage.drawing import (
    ACCENT,
    INK,
    LOST,
    MUTED,
    PAPER,
    VERDICT_COLOURS,
    WON,
    Picture,
    open_canvas,
    percent,
    shorten,
)

TRAIT_WORDS = {"self_naming": "names itself", "self_praise": "praises itself"}
STYLE_SHOWN = 16
_TURN_GROUPS = (("1", 1, 1), ("2", 2, 2), ("3", 3, 3), ("4", 4, 4), ("5", 5, 5), ("6–10", 6, 10), ("11+", 11, np.inf))


def interval_dots(axes: Axes, places: np.ndarray, shares: list[Figures], colour: str, *, upright: bool = False) -> None:
    """A dot at each share, in percent, with its interval as a line; rows without a share stay blank."""
    known = [(place, share) for place, share in zip(places, shares, strict=True) if share["share"] is not None]
    if not known:
        return
    at = np.array([place for place, _ in known], dtype=float)
    middle, low, high = (100 * np.array([share[key] for _, share in known]) for key in ("share", "low", "high"))
    reach = np.abs(np.stack([middle - low, high - middle]))
    if upright:
        axes.errorbar(at, middle, yerr=reach, fmt="o", color=colour, markersize=4, linewidth=1.4)
    else:
        axes.errorbar(middle, at, xerr=reach, fmt="o", color=colour, markersize=4, linewidth=1.4)


def _plain_logarithm(axis: Axis) -> None:
    """Powers of ten written out: matplotlib's own are formulae, and formulae are off."""
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def draw_verdicts(figures: Figures) -> Picture | None:
    verdicts = figures["overview"]["verdicts"]
    if verdicts["A"]["share"] is None:
        return None
    with open_canvas("verdicts", 1.5) as canvas:
        for place, (label, share) in enumerate(verdicts.items()):
            value, low, high = (100 * share[key] for key in ("share", "low", "high"))
            canvas.axes.barh(place, value, color=VERDICT_COLOURS[label], height=0.7)
            canvas.axes.plot([low, high], [place, place], color=INK, linewidth=1.6)
            canvas.axes.text(high + 1, place, percent(share["share"]), va="center", color=INK)
        canvas.axes.set_yticks(range(3), ["A wins", "B wins", "tie"])
        canvas.axes.invert_yaxis()
        canvas.axes.set_xlim(0, max(100 * share["high"] for share in verdicts.values()) + 9)
        canvas.axes.set_xlabel("share of battles, %")
    a, b, tie = (percent(verdicts[label]["share"]) for label in verdicts)
    return Picture(f"A wins {a}, B wins {b}, {tie} are ties", canvas.svg)


def draw_lengths(figures: Figures) -> Picture | None:
    lengths = figures["lengths"]
    if not figures["overview"]["battles"]:
        return None
    edges = np.array(lengths["histogram"]["edges"])
    lines = (
        ("prompt", "prompt", INK),
        ("response_a", "A", VERDICT_COLOURS["A"]),
        ("response_b", "B", VERDICT_COLOURS["B"]),
    )
    with open_canvas("lengths", 2.7) as canvas:
        for name, label, colour in lines:
            counts = lengths["histogram"][name]
            style = "--" if label == "B" else "-"
            canvas.axes.stairs(counts, edges, color=colour, linewidth=1.6, linestyle=style, label=label)
        canvas.axes.set_xscale("log")
        _plain_logarithm(canvas.axes.xaxis)
        canvas.axes.set_xlabel("characters, all turns together")
        canvas.axes.set_ylabel("battles")
        canvas.axes.set_ylim(bottom=0)
        canvas.axes.legend(loc="upper left")
    prompt, answer = (lengths["characters"][name]["median"] for name in ("prompt", "response_a"))
    return Picture(
        f"Half of the prompts are under {prompt:,.0f} characters, half of A's responses under {answer:,.0f}", canvas.svg
    )


def draw_length_pairs(figures: Figures) -> Picture | None:
    lengths = figures["lengths"]
    counts = np.array(lengths["joint_histogram"], dtype=float)
    rank = lengths["correlation"]["response_a_with_response_b"]["spearman"]
    if not counts.any() or rank is None:
        return None
    edges = np.array(lengths["histogram"]["edges"])
    lowest = edges[np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))[0]]
    with open_canvas("length-pairs", 3.6, grid="both") as canvas:
        # A dot a cell in a few sizes: an empty cell costs nothing, and SVG stores each size once.
        middle = np.sqrt(edges[1:] * edges[:-1])
        sizes = np.ceil(6 * counts / counts.max())
        for size in range(1, 7):
            first, second = np.nonzero(sizes == size)
            canvas.axes.plot(
                middle[first], middle[second], "o", color=ACCENT, markersize=1 + 0.8 * size, markeredgewidth=0
            )
        canvas.axes.plot([lowest, edges[-1]], [lowest, edges[-1]], color=MUTED, linewidth=0.8, linestyle="--")
        canvas.axes.set(xscale="log", yscale="log", xlim=(lowest, edges[-1]), ylim=(lowest, edges[-1]))
        _plain_logarithm(canvas.axes.xaxis)
        _plain_logarithm(canvas.axes.yaxis)
        canvas.axes.set_xlabel("characters of A (a larger dot: more battles)")
        canvas.axes.set_ylabel("characters of B")
    sight = (
        "A long response meets a long one" if rank > 0.3 else "The lengths of A and B have little to do with each other"
    )
    return Picture(f"{sight}: rank correlation {rank:.2f}", canvas.svg)


def draw_turns(figures: Figures) -> Picture | None:
    turns = figures["turns"]
    if turns["single"]["share"] is None:
        return None
    groups = [
        (label, sum(count for number, count in turns["counts"].items() if low <= int(number) <= high))
        for label, low, high in _TURN_GROUPS
    ]
    total = turns["single"]["of"]
    with open_canvas("turns", 2.1, grid="y") as canvas:
        bars = canvas.axes.bar(
            [label for label, _ in groups], [100 * count / total for _, count in groups], color=ACCENT
        )
        canvas.axes.bar_label(bars, [f"{count:,}" for _, count in groups], padding=2, color=INK)
        canvas.axes.set_xlabel("turns (on each bar: battles)")
        canvas.axes.set_ylabel("% of battles")
        canvas.axes.margins(y=0.15)
    return Picture(
        f"{percent(turns['single']['share'])} of battles have one turn; the longest has {turns['max']:.0f}", canvas.svg
    )


def draw_verbosity(figures: Figures) -> Picture | None:
    verbosity = figures["verbosity"]
    buckets = verbosity["buckets"]
    if len(buckets) < 2:
        return None
    places = np.arange(len(buckets))
    with open_canvas("verbosity", 3.0, grid="y") as canvas:
        for label, colour in VERDICT_COLOURS.items():
            shares = [bucket["verdicts"][label] for bucket in buckets]
            offset = {"A": -0.12, "B": 0.12, "tie": 0.0}[label]
            canvas.axes.plot(places + offset, [100 * share["share"] for share in shares], color=colour, linewidth=1.2)
            interval_dots(canvas.axes, places + offset, shares, colour, upright=True)
            canvas.axes.plot([], [], color=colour, linewidth=3, label={"A": "A wins", "B": "B wins"}.get(label, label))
        labels = [f"{bucket['median']:+,.0f}".replace("-", "−") for bucket in buckets]
        canvas.axes.set_xticks(places, labels, rotation=45, ha="right", rotation_mode="anchor")
        canvas.axes.set_xlabel("characters of A less those of B, median of each bucket")
        canvas.axes.set_ylabel("% of battles")
        canvas.axes.set_ylim(bottom=0)
        canvas.figure.legend(loc="outside upper center", ncols=3)
    longer = verbosity["longer_wins"]
    return Picture(f"The longer response wins {percent(longer['share'])} of decided battles", canvas.svg)


def draw_self_promotion(figures: Figures) -> Picture | None:
    traits = {name: trait for name, trait in figures["self_promotion"].items() if trait["one_of_two"]["battles"]}
    if not traits:
        return None
    with open_canvas("self-promotion", 0.9 + 0.5 * len(traits)) as canvas:
        for place, trait in enumerate(traits.values()):
            left = 0.0
            for outcome, colour in (("won", WON), ("tied", VERDICT_COLOURS["tie"]), ("lost", LOST)):
                width = 100 * trait["one_of_two"][outcome]["share"]
                canvas.axes.barh(place, width, left=left, color=colour, height=0.6, edgecolor=PAPER)
                if width > 14:
                    canvas.axes.text(
                        left + width / 2, place, f"{outcome} {width:.0f} %", ha="center", va="center", color=PAPER
                    )
                left += width
        names = [f"{TRAIT_WORDS[name]}\n({trait['one_of_two']['battles']:,} battles)" for name, trait in traits.items()]
        canvas.axes.set_yticks(range(len(traits)), names)
        canvas.axes.invert_yaxis()
        canvas.axes.set_xlim(0, 100)
        canvas.axes.set_xlabel("% of battles in which one of the two does")
    name, trait = next(iter(traits.items()))
    won = percent(trait["one_of_two"]["won_of_decided"]["share"])
    return Picture(
        f"A response that {TRAIT_WORDS[name]} wins {won} of decided battles against one that does not", canvas.svg
    )


def draw_style(figures: Figures) -> Picture | None:
    rows = [row for row in figures["style"] if row["won_of_decided"]["share"] is not None][:STYLE_SHOWN]
    if not rows:
        return None
    with open_canvas("style", 0.7 + 0.21 * len(rows)) as canvas:
        canvas.axes.axvline(50, color=MUTED, linewidth=1)
        interval_dots(canvas.axes, np.arange(len(rows)), [row["won_of_decided"] for row in rows], ACCENT)
        canvas.axes.set_yticks(range(len(rows)), [shorten(feature_words(row["feature"])) for row in rows])
        canvas.axes.invert_yaxis()
        canvas.axes.set_xlabel("the response with more of it wins, % of decided battles")
    first = rows[0]
    clear = first["won_of_decided"]["low"] > 0.5 or first["won_of_decided"]["high"] < 0.5
    name, value = feature_words(first["feature"]), percent(first["won_of_decided"]["share"])
    title = (
        f"Clearest is “{name}”: with more of it, a response wins {value} of decided battles"
        if clear
        else "No style feature clearly sways the verdict"
    )
    return Picture(title, canvas.svg)


def draw_languages(figures: Figures) -> Picture | None:
    rows = figures["languages"]
    if len(rows) < 2:
        return None
    with open_canvas("languages", 0.7 + 0.23 * len(rows)) as canvas:
        bars = canvas.axes.barh(range(len(rows)), [row["battles"]["count"] for row in rows], color=ACCENT, height=0.7)
        canvas.axes.bar_label(bars, [percent(row["battles"]["share"]) for row in rows], padding=3, color=INK)
        canvas.axes.set_yticks(range(len(rows)), [shorten(row["language"]) for row in rows])
        canvas.axes.invert_yaxis()
        canvas.axes.margins(x=0.15)
        canvas.axes.set_xlabel("battles")
    return Picture(
        f"{shorten(rows[0]['language'])} makes up {percent(rows[0]['battles']['share'])} of battles", canvas.svg
    )
