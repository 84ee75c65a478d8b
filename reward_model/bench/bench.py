"""A judge on a benchmark: items, margins, the benchmark's rule, figures with intervals, and the table that shows them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reward_model.bench.items import BENCHMARKS, Item
from reward_model.bench.rewards import item_margins
from reward_model.bench.rules import statistic_of
from reward_model.bench.statistic import with_intervals
from reward_model.evaluation.resampling import RESAMPLES
from reward_model.predict.member import Member
from reward_model.predict.run_member import RunMember

Report = dict[str, Any]
PPE_RESAMPLES = 200  # each fits two rankings


def bench(
    member: Member, benchmark: str, items: Sequence[Item], *, resamples: int = RESAMPLES, progress: bool = False
) -> Report:
    """The judge's figures on the items of one benchmark.

    Args:
        member: a judge, as `reward_model.predict.open_member.open_judge` gives it.
        benchmark: one of `BENCHMARKS`.
        items: as `reward_model.bench.files.read_items` reads them.
        resamples: draws of the bootstrap.
        progress: whether to show bars.

    Returns: plain numbers for JSON: `figures` and, of a run with a style head, `style_off`, each as row → column →
        {value, low, high}; how many `items` there are, and of how many a pair was `not_scored`.
    """
    figures, failed = _figures(member, benchmark, items, resamples, progress)
    closed = None
    if isinstance(member, RunMember) and member.has_style and member.options.style:
        closed, _ = _figures(member.sharing(style=False), benchmark, items, resamples, progress)
    return {
        "benchmark": benchmark,
        "model": member.name,
        "items": len(items),
        "not_scored": failed,
        "figures": figures,
        "style_off": closed,
    }


def _figures(
    member: Member, benchmark: str, items: Sequence[Item], resamples: int, progress: bool
) -> tuple[Report, int]:
    margins = item_margins(member, items, progress=progress)
    statistic = statistic_of(benchmark, items, margins)
    draws = min(resamples, PPE_RESAMPLES) if benchmark == "ppe" else resamples
    failed = sum(bool(np.isnan(margin).any()) for margin in margins)
    return with_intervals(statistic, [item.group for item in items], draws), failed


def every_nth(items: Sequence[Item], most: int | None) -> list[Item]:
    """At most so many items, spread over all."""
    if most is None or len(items) <= most:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def table_lines(report: Report) -> list[str]:
    """The figures in lines of text: a row a part of the benchmark, percent with 95 % intervals, `all` last."""
    lines = [f"{report['model']} on {BENCHMARKS[report['benchmark']]}; {report['items']:,} items, 95 % intervals"]
    for title, figures in (("", report["figures"]), ("style head closed", report["style_off"])):
        if figures is None:
            continue
        columns = list(dict.fromkeys(column for row in figures.values() for column in row))
        width = max(len(row) for row in figures) + 2
        lines += ["", *([title] if title else [])]
        lines.append("".ljust(width) + "".join(column.ljust(22) for column in columns))
        ordered = [row for row in figures if row != "all"] + [row for row in figures if row == "all"]
        lines += [
            (row.ljust(width) + "".join(_cell(figures[row].get(column)).ljust(22) for column in columns)).rstrip()
            for row in ordered
        ]
    return lines


def _cell(figure: dict[str, float | None] | None) -> str:
    if figure is None:
        return ""
    if figure["value"] is None:
        return "–"
    text = f"{100 * figure['value']:.1f}"
    return text if figure["low"] is None else f"{text} ({100 * figure['low']:.1f} to {100 * (figure['high'] or 0):.1f})"
