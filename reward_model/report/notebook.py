"""How results show themselves: as a table in a notebook, as a DataFrame, and as lines of text."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]


def as_frame(rows: Sequence[Row]) -> Any:
    """A pandas DataFrame, a row each."""
    import pandas  # `datasets` brings it, and its import takes a second

    return pandas.DataFrame([dict(row) for row in rows])


def as_html(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A table of HTML; all cells are shown as text. heads: one a column."""
    parts = [f"<table><caption>{escape(caption)}</caption><thead><tr>"]
    parts += [f"<th>{escape(head)}</th>" for head in heads]
    parts.append("</tr></thead><tbody>")
    for row in rows:
        parts += ["<tr>", *(f"<td>{escape(cell)}</td>" for cell in row), "</tr>"]
    return "".join([*parts, "</tbody></table>"])


def as_text(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned lines. heads: one a column."""
    table = [list(heads), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines)
