"""The parts of a page, how its numbers are written, and the page itself: one HTML file that needs nothing else.

A section holds notes, groups and folds; a group holds pictures and the tables that stand beside them; a fold is a line
that opens to texts. All that comes from the data is escaped by Jinja; the only markup let through is the pictures',
whose text matplotlib has escaped. Should that ever fail, a content security policy forbids the page every request and
every script but the one that sorts tables, which it knows by its hash.

Source: hashes in https://www.w3.org/TR/CSP3/#framework-directive-source-list.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from arena_data.webpage.drawing import Picture


@dataclass(frozen=True)
class Table:
    """caption; heads: one a column; rows: cells as text, the first names the row; wordy: the second is a sentence;
    greyed: places of rows that rest on too few battles."""

    caption: str
    heads: list[str]
    rows: list[list[str]]
    wordy: bool = False
    greyed: frozenset[int] = frozenset()


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


@dataclass(frozen=True)
class Answer:
    """A question that the page answers at its top. state: good, unsure or bad; why: the figures behind the answer."""

    question: str
    state: str
    answer: str
    why: str


# Sorts a table by the column whose head is pressed. It reads and moves cells of the page, and nothing else.
SORTING = """
for (const head of document.querySelectorAll("thead th[data-sorts]")) {
  const button = head.querySelector("button");
  button.hidden = false;
  head.querySelector("span").hidden = true;
  button.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending";
    const key = (row) => {
      const text = row.cells[column].textContent.trim();
      const number = parseFloat(text.replaceAll(",", "").replaceAll("\u2212", "-").replace(/^[×+]/, ""));
      return [Number.isNaN(number) ? -Infinity : number, text];
    };
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort((a, b) => a[0][0] - b[0][0] || a[0][1].localeCompare(b[0][1]));
    if (down) rows.reverse();
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map((pair) => pair[1]));
  });
}
"""


def render_page(
    title: str,
    subtitle: str,
    tiles: Sequence[Tile],
    note: str,
    sections: Sequence[Section],
    pictures: Mapping[str, Picture | None],
    lead: str = "",
    answers: Sequence[Answer] = (),
) -> str:
    """The page as HTML.

    Args:
        note: how to read its figures.
        pictures: by the names that the sections' groups use.
        lead: the page's answer in a sentence; answers: what it rests on.
    """
    environment = Environment(
        loader=FileSystemLoader(str(files("arena_data.webpage"))),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
    )
    return environment.get_template("page.html.jinja").render(
        title=title,
        subtitle=subtitle,
        tiles=tiles,
        note=note,
        sections=sections,
        pictures=pictures,
        lead=lead,
        answers=answers,
        script=Markup(SORTING),  # noqa: S704 - a constant of this module
        # The policy lets this script run, by its hash, and no other.
        script_hash=base64.b64encode(hashlib.sha256(SORTING.encode()).digest()).decode(),
    )
