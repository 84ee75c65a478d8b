"""Log loss against training battles: python -m experiments.learning_curve

Arms and numbers of battles are those of `learning_curve` in experiments/questions.yaml; smaller sets lie within larger
ones, and all are judged on the same held-out battles. A blend of the arms is fitted on the other folds. What is done is
kept as by `python -m experiments`; the picture goes beside the page, the figures into a section of it.
"""

import argparse
import io
import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np

from arena_data.errors import InputError
from arena_data.file_io import write_bytes_atomically
from arena_data.quiet import quiet_datasets
from benchmarks.leaderboard.blends import fitted_blend
from benchmarks.leaderboard.page import PUBLISHED
from benchmarks.leaderboard.results import bounds
from experiments.__main__ import add_flags
from experiments.page import write_section
from experiments.questions import Curve, read_file
from experiments.running import FOLDS, Bench, losses_of

PICTURE = "images/learning_curve.png"
BLEND, SECTION = "blend of these", "learning_curve"
FULL = 57_477
SHOWN = ("length buckets", "boosted trees on TF-IDF", "DeBERTa-v3-base", "Gemma-2-9B, QLoRA")
COLOURS = ("tab:blue", "tab:orange", "tab:red", "tab:purple", "tab:brown", "tab:gray", "tab:olive", "tab:cyan")


class Point(NamedTuple):
    """Log loss after so many battles, with its 95 % interval."""

    battles: int
    log_loss: float
    low: float
    high: float


Lines = dict[str, list[Point]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 2 for what a person has to mend."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.learning_curve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser)
    options = parser.parse_args(arguments)
    try:
        _, curve = read_file(options.file)
        bench = Bench(options.data_dir, options.output_dir)
        with quiet_datasets():
            for battles in (*curve.battles, None):
                bench.run(list(curve.arms.values()), curve.seeds, battles)
            lines = points(curve, bench)
        picture = options.page.parent / PICTURE
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(picture, draw(lines))
        write_section(options.page, SECTION, text_of(lines, len(bench.battles), len(curve.seeds)))
    except (InputError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{picture}, figures in {options.page}")
    return 0


def points(curve: Curve, bench: Bench) -> Lines:
    """For each arm, and for the blend of all, the points in order of battles. Raises: ValueError where one was not run."""
    whole = round(len(bench.battles) * (FOLDS - 1) / FOLDS)
    lines: Lines = {name: [] for name in (*curve.arms, *([BLEND] if len(curve.arms) > 1 else []))}
    for battles in (*curve.battles, None):
        found = {}
        for name, arm in curve.arms.items():
            runs = bench.read(arm, curve.seeds, battles)
            if runs is None:
                raise ValueError(f"{name} at {battles or 'all'} battles has not been run")
            found[name] = runs
        if BLEND in lines:
            each = [{name: runs[place] for name, runs in found.items()} for place in range(len(curve.seeds))]
            found[BLEND] = [fitted_blend(members)[0] for members in each]
        for name, runs in found.items():
            losses, first = losses_of(runs)
            lines[name].append(Point(battles or whole, float(losses.mean()), *bounds(losses, first.groups)))
    return lines


def slope(line: Sequence[Point]) -> float:
    """What a doubling of the battles adds to the log loss, by least squares."""
    return float(np.polyfit([math.log2(point.battles) for point in line], [point.log_loss for point in line], 1)[0])


def text_of(lines: Lines, battles: int, seeds: int) -> str:
    """Markdown."""
    sizes = [point.battles for point in next(iter(lines.values()))]
    head = ["", *(f"{size:,}" for size in sizes), "a doubling adds"]
    rows = [
        [name, *(f"{p.log_loss:.4f} ({p.low:.4f} to {p.high:.4f})" for p in line), f"{slope(line):+.4f}"]
        for name, line in lines.items()
    ]
    deals = f"{seeds} deal{'s' if seeds > 1 else ''}"
    table = [head, ["---"] * len(head), *rows]
    return "\n".join(
        [
            "## learning_curve: what would more battles bring?",
            "",
            f"![Log loss against training battles]({PICTURE})",
            "",
            f"Battles for training and calibration together; {battles:,} held out in turn, {deals} of the folds. "
            "The last column is the slope of a straight line through the points; how far such a line holds is not known. "
            "Published figures are of other battles of the same kind.",
            "",
            *("| " + " | ".join(cells) + " |" for cells in table),
        ]
    )


def draw(lines: Lines) -> bytes:
    """PNG: a line an arm, and what others published for all battles of the competition."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5.2), layout="constrained")
    for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
        x, y = [point.battles for point in line], [point.log_loss for point in line]
        wide = 2.4 if name == BLEND else 1.6
        axes.plot(x, y, "o-", color=colour, linewidth=wide, markersize=4, label=name)
    best = min(lines, key=lambda name: lines[name][-1].log_loss)
    last = lines[best]
    axes.fill_between(
        [point.battles for point in last],
        [point.low for point in last],
        [point.high for point in last],
        color=COLOURS[list(lines).index(best)],
        alpha=0.12,
        linewidth=0,
        label=f"95 % interval of {best}",
    )
    for name in SHOWN:
        axes.plot(FULL, PUBLISHED[name], "D", color="black", markersize=5)
        label = f"{name}  {PUBLISHED[name]:.3f}"
        axes.annotate(
            label, (FULL, PUBLISHED[name]), xytext=(-8, 0), textcoords="offset points", ha="right", va="center"
        )
    axes.axhline(PUBLISHED["class prior"], color="grey", linewidth=0.8, linestyle="--")
    axes.annotate("class prior", (FULL, PUBLISHED["class prior"]), fontsize=8, va="bottom", ha="right", color="grey")
    ticks = [*(point.battles for point in last), FULL]
    axes.set(xscale="log", xlabel="battles to learn from", ylabel="log loss on held-out battles")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(ticks[0] / 1.15, FULL * 1.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes.legend(loc="lower left", fontsize=8, frameon=False)
    axes.set_title("Diamonds: published, trained on all battles of the competition", fontsize=9, loc="right")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
