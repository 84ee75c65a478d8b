"""The parts of an exploration page and how its numbers are written.

A section holds notes and groups, a group holds pictures and the tables that stand beside them.
"""

from dataclasses import dataclass, field

from arena_data.figures import percent
from arena_data.shares import Figures


@dataclass(frozen=True)
class Table:
    """caption; heads: one a column; rows: cells as text, the first names the row; wordy: the second is a sentence."""

    caption: str
    heads: list[str]
    rows: list[list[str]]
    wordy: bool = False


@dataclass(frozen=True)
class Group:
    """Pictures, by their names in `arena_data.report.PICTURES`, and the tables beside them; tall: as the picture is."""

    pictures: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    tall: bool = False


@dataclass(frozen=True)
class Section:
    name: str
    heading: str
    notes: list[str]
    groups: list[Group]


def count_text(value: float | None) -> str:
    """A whole number as such; fractions, which soft verdicts make, with one digit."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-6 else f"{value:,.1f}"


def share_text(share: Figures) -> str:
    if share["share"] is None:
        return "–"
    # No line break within: a wrapped interval is hard to read down a column.
    return f"{percent(share['share'])} [{100 * share['low']:.0f}, {100 * share['high']:.0f}]".replace(
        " ", "\N{NO-BREAK SPACE}"
    )


def verdict_texts(verdicts: Figures) -> list[str]:
    return [share_text(verdicts[label]) for label in ("A", "B", "tie")]
