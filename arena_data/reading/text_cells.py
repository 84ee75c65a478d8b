"""What the text cells of a file hold: plain text, JSON lists of turns, or lists as Python or numpy writes them.

A model asked for a JSON list answers with one, so no cell can say what it is. The file decides, as a whole: cells are
lists where those of the prompt and of both responses are. A cell of a large file that was cut short or broken does not
change that: up to one in a hundred may be no list, and what opens as one (`["`) counts as a broken one.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from arena_data.containers.block import Block
from arena_data.containers.json_rows import parse_json
from arena_data.containers.python_literals import parse_literal
from arena_data.reading.json_lists import TURN_TYPES

Style = Literal["plain", "json", "python"]
Kind = Literal["none", "json", "python", "broken", "text"]

ODD_SHARE = 0.01
OPENINGS = ('["', "['", "[null", "[None", "array([")


def cell_style(block: Block, columns: Sequence[str], known_lists: bool, reread: Callable[[], Iterator[Block]]) -> Style:
    """How all cells of the columns in a file are to be read.

    Args:
        block: the file's first rows.
        known_lists: the file's other columns say that cells are lists; only JSON and Python are to be told apart.
        reread: reads the file from its start; called where its first rows look like lists.
    """
    counts = {name: count_kinds(block.columns.get(name, [])) for name in columns}
    if known_lists:
        total = _total(counts)
        return "python" if total["python"] and total["python"] + total["json"] >= total["text"] else "json"
    if _is_plain(counts):
        return "plain"
    counts = {name: Counter[Kind]() for name in columns}
    for part in reread():
        for name in columns:
            counts[name].update(count_kinds(part.columns.get(name, [])))
    if _is_plain(counts):
        return "plain"
    return "python" if _total(counts)["python"] else "json"


def count_kinds(cells: Sequence[Any]) -> Counter[Kind]:
    return Counter(map(_kind, cells))


def _kind(cell: Any) -> Kind:
    if not isinstance(cell, str) or not cell or cell.isspace() or cell == "null":
        return "none"
    start = cell.lstrip()
    if start[0] not in "[(" and not start.startswith("array(["):
        return "text"
    try:
        return "json" if is_turns(parse_json(cell)) else "text"
    except ValueError:
        pass
    try:
        if is_turns(parse_literal(cell)):
            return "python"
    except ValueError:
        pass
    return "broken" if start.startswith(OPENINGS) else "text"


def is_turns(value: Any) -> bool:
    """Whether a value is a list of texts and nulls."""
    return isinstance(value, list) and TURN_TYPES.issuperset(map(type, value))


def _total(counts: Mapping[str, Counter[Kind]]) -> Counter[Kind]:
    return sum(counts.values(), Counter())


def _is_plain(counts: Mapping[str, Counter[Kind]]) -> bool:
    """Whether any column holds more plain texts than may be broken lists, or nothing is a list."""
    total = _total(counts)
    lists = total["json"] + total["python"]
    too_many = any(count["text"] > ODD_SHARE * (count.total() - count["none"]) for count in counts.values())
    return too_many or lists == 0 or total["broken"] > lists


def parse_cell(text: str, style: Style = "python") -> Any:
    """The value in a cell that holds JSON, or also Python's literals. Raises: ValueError where it holds neither."""
    try:
        return parse_json(text)
    except ValueError:
        if style != "python":
            raise
    return parse_literal(text)
