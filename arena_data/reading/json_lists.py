"""The fast road for text cells that hold JSON lists: a block's cells become Arrow lists, odd rows step aside.

Cleaning a competition's 57,477 rows text by text costs more than reading them. Here numpy looks at a whole block
at once and marks the rows that are not plain (nulls, blank texts, control characters, equal responses,
what does not parse). Those few go through the careful code in `formats` and `cleaning`;
the others are what Arrow already holds.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

Segment = tuple[int, int, list[pa.ListArray] | None]
TURNS = pa.list_(pa.string())
TURN_TYPES = frozenset({str, type(None)})


def segments(cells: Sequence[pa.StringArray]) -> Iterator[Segment]:
    """Splits a block into runs of plain rows, parsed, and rows that need care.

    Args:
        cells: the prompt's, response A's and response B's cells, [n] each.

    Yields: (start, stop, lists) in order, covering all rows; lists are three list<string> arrays [stop - start], or
    None for a row to be read with care.
    """
    lists = [_parsed(column) for column in cells]
    position = 0
    for row in np.flatnonzero(_suspect(lists)).tolist():
        if row > position:
            yield position, row, [column.slice(position, row - position) for column in lists]
        yield row, row + 1, None
        position = row + 1
    if position < len(lists[0]):
        yield position, len(lists[0]), [column.slice(position) for column in lists]


def _parsed(cells: pa.StringArray) -> pa.ListArray:
    """list<string> [n]; null where a cell is not plainly a JSON list of texts."""
    parse, is_texts = orjson.loads, TURN_TYPES.issuperset
    lists: list[Any] = []
    for cell in cells.to_pylist():
        try:
            turns = parse(cell or "null")
        except ValueError:
            turns = None
        # Most lists hold one text: a look at it is cheaper than a set of types.
        plain = type(turns) is list and ((len(turns) == 1 and type(turns[0]) is str) or is_texts(map(type, turns)))
        lists.append(turns if plain else None)
    return pa.array(lists, type=TURNS)


def _suspect(lists: Sequence[pa.ListArray]) -> np.ndarray:
    """bool [n]: the rows that are not plain. May mark a row that is; never passes over one that is not."""
    rows = len(lists[0])
    marked = np.zeros(rows, dtype=bool)
    sizes, lengths = [], []
    for column in lists:
        starts = np.frombuffer(column.buffers()[1], dtype=np.int32)[column.offset : column.offset + rows + 1]
        values = column.values
        if column.null_count or values.null_count:
            marked |= np.asarray(column.is_null())
            marked |= _any_per_row(np.asarray(values.is_null()), starts)
        marked |= _any_per_row(_blank(values), starts)
        bounds = np.frombuffer(values.buffers()[1], dtype=np.int32)[values.offset : values.offset + len(values) + 1]
        text = np.frombuffer(values.buffers()[2] or b"", dtype=np.uint8)
        odd = _odd_bytes(text, bounds)
        if odd.size:
            marked[np.clip(np.searchsorted(bounds[starts], odd, side="right") - 1, 0, rows - 1)] = True
        lengths.append(np.diff(starts))
        sizes.append(np.diff(bounds[starts]))
    marked |= (lengths[0] == 0) | (lengths[0] != lengths[1]) | (lengths[0] != lengths[2])
    marked |= sizes[1] == sizes[2]
    return marked


def _blank(values: pa.StringArray) -> np.ndarray:
    blank = pc.or_(pc.equal(pc.binary_length(values), 0), pc.utf8_is_space(values))
    return np.asarray(pc.fill_null(blank, True))


def _odd_bytes(text: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Positions of carriage returns, NULs, and byte order marks that open a text."""
    positions = np.flatnonzero((text == 0x0D) | (text == 0x00))
    if text.size:
        openings = bounds[:-1][bounds[:-1] < text.size]
        positions = np.concatenate([positions, openings[text[openings] == 0xEF]])
    return positions


def _any_per_row(flags: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """bool [n]: whether any of a row's values is flagged."""
    counts = np.concatenate([[0], np.cumsum(flags)])
    return counts[starts[1:]] > counts[starts[:-1]]
