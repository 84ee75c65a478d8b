"""The parts of a page, how its numbers are written, and the page itself: one HTML file that needs nothing else.

A section holds notes, groups and folds; a group holds pictures and the tables that stand beside them; a fold is a line
that opens to texts. All that comes from the data is escaped by Jinja; the only markup let through is the pictures',
whose text matplotlib has escaped. A content security policy forbids the page every script and every request, should
that ever fail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from arena_data.webpage.drawing import Picture


@dataclass(frozen=True)
class Table:
    """caption; heads: one a column; rows: cells as text, the first names the row; wordy: the second is a sentence."""

    caption: str
    heads: list[str]
    rows: list[list[str]]
    wordy: bool = False


@dataclass(frozen=True)
class Group:
    """Pictures, by their names on the page, and the tables beside them; tall: as the picture is."""

    pictures: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    tall: bool = False


@dataclass(frozen=True)
class Fold:
    """A line that opens. summary: what it is; fact: a figure beside it; texts: (heading, text), shown as they are."""

    summary: str
    fact: str
    texts: list[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    name: str
    heading: str
    notes: list[str]
    groups: list[Group]
    folds: list[Fold] = field(default_factory=list)


@dataclass(frozen=True)
class Tile:
    """A figure in the page's head; note: a line under it."""

    name: str
    value: str
    note: str = ""


def render_page(
    title: str,
    subtitle: str,
    tiles: Sequence[Tile],
    note: str,
    sections: Sequence[Section],
    pictures: Mapping[str, Picture | None],
) -> str:
    """The page as HTML. note: how to read its figures; pictures: by the names that the sections' groups use."""
    environment = Environment(
        loader=FileSystemLoader(str(files("arena_data.webpage"))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
    )
    return environment.get_template("page.html.jinja").render(
        title=title, subtitle=subtitle, tiles=tiles, note=note, sections=sections, pictures=pictures
    )
