"""JSON in, blocks of rows out: JSON Lines, or one document (`arena_data.containers.json_documents`).

Real battles hold what strict parsers refuse, half of a surrogate pair above all; it is let through here and repaired
where text is cleaned.
"""

import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, Any

import orjson
import pyarrow as pa

from arena_data.containers.block import Block
from arena_data.containers.byte_streams import GUESSED, Buffered, Rejoined, as_utf8, encoding_of, open_bytes, read_whole
from arena_data.containers.column_names import chosen_columns, known_names
from arena_data.containers.csv_tables import refuse_cell
from arena_data.containers.json_documents import document_rows
from arena_data.containers.limits import Limits, size_text
from arena_data.errors import InputError

ROWS_PER_BLOCK = 4096
BLOCK_BYTES = 32 << 20
SNIFFED_BYTES = 1 << 16
# Beyond this a float may stand for a whole number that it cannot hold.
EXACT_INTEGERS = 2.0**53
_SPACED_KEY = re.compile(rb'"[ \t\r\n]+:')


class RepeatedKeyError(ValueError):
    """An object that has a key twice: parsers take the last value without a word."""

    def __init__(self, key: str):
        super().__init__(f"the key {key[:80]!r} is written twice in one object")
        self.key = key


def json_blocks(file: str, wanted: Collection[str], limits: Limits) -> Iterator[Block]:
    """The file's rows in order. Raises: InputError where it is not JSON, or a row is no object, naming the row."""
    rows: list[dict[str, Any]] = []
    first_row, rows_read, block_bytes = 1, 0, 0
    oddities: set[str] = set()
    for row, size in _sized_rows(file, wanted, limits, oddities):
        rows_read += 1
        if not isinstance(row, dict):
            raise InputError("not an object", file=file, row=rows_read, found=row, expected="a JSON object")
        rows.append(row)
        block_bytes += size
        if len(rows) == ROWS_PER_BLOCK or block_bytes >= BLOCK_BYTES:
            yield _row_block(file, first_row, rows, wanted, limits, frozenset(oddities))
            first_row, rows, block_bytes = first_row + len(rows), [], 0
    if rows_read == 0:
        raise InputError("is empty", file=file, expected="battles")
    if rows:
        yield _row_block(file, first_row, rows, wanted, limits, frozenset(oddities))


def _sized_rows(file: str, wanted: Collection[str], limits: Limits, oddities: set[str]) -> Iterator[tuple[Any, int]]:
    """The rows, whatever their type, with the bytes each took in the file (0 in a document).

    Args:
        oddities: what is odd about the file is added, before the first row.
    """
    stream = open_bytes(file, limits)
    start = stream.read(SNIFFED_BYTES)
    encoding = encoding_of(file, start)
    if encoding in GUESSED:
        oddities.add("another_encoding")
    # The bytes that were looked at go first again.
    joined = Rejoined(start, stream)
    text_stream = as_utf8(pa.PythonFile(joined, mode="r"), encoding) if encoding else joined
    lines: IO[bytes] = io.BufferedReader(Buffered(text_stream), 1 << 20)
    first = _first_line(lines, limits)
    try:
        head = parse_row(first) if first.lstrip().startswith(b"{") else None
    except RepeatedKeyError as error:
        raise _repeated(error, file, 1) from None
    except ValueError:
        head = None  # An object over several lines: a whole document, or a broken first line.
    second = _next_line(file, lines, 2, limits) if isinstance(head, dict) else b""
    if isinstance(head, dict) and second:
        yield head, len(first)
        number, line = 2, second
        while line:
            try:
                yield parse_row(line), len(line)
            except RepeatedKeyError as error:
                raise _repeated(error, file, number) from None
            except ValueError as error:
                raise InputError(f"not JSON ({error})", file=file, row=number, found=line[:200]) from error
            number += 1
            line = _next_line(file, lines, number, limits)
        return
    text = read_whole(file, lines, limits, first)
    try:
        document = parse_document(text) if text.strip() else []
    except RepeatedKeyError as error:
        raise _repeated(error, file, None) from None
    except ValueError as error:
        raise InputError(f"not JSON ({error})", file=file, row=1, found=text[:200]) from error
    for row in document_rows(file, document, wanted):
        yield row, 0


def _repeated(error: RepeatedKeyError, file: str, row: int | None) -> InputError:
    return InputError(str(error), file=file, row=row, fix="keep one of the two")


def _first_line(lines: IO[bytes], limits: Limits) -> bytes:
    """The first line that is not blank, without a byte order mark; a document may be longer than what is read of it."""
    line = lines.readline(limits.row).removeprefix(b"\xef\xbb\xbf")
    while line.isspace():
        line = lines.readline(limits.row)
    return line


def _next_line(file: str, lines: IO[bytes], row: int, limits: Limits) -> bytes:
    """The next line that is not blank; empty at the end of the file. Raises: InputError for one beyond the limit."""
    line = b"\n"
    while line.isspace():
        line = lines.readline(limits.row + 1)
    if len(line) > limits.row:
        raise InputError(f"a line is longer than {size_text(limits.row)}", file=file, row=row)
    return line


def _row_block(
    file: str,
    first_row: int,
    rows: list[dict[str, Any]],
    wanted: Collection[str],
    limits: Limits,
    oddities: frozenset[str],
) -> Block:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) <= limits.columns:
        places = chosen_columns(file, names, wanted, limits)
    else:  # Names may differ from row to row; a row must still be of a sane size.
        wide = next((index for index, row in enumerate(rows) if len(row) > limits.columns), None)
        if wide is not None:
            raise InputError(
                f"has {len(rows[wide]):,} columns",
                file=file,
                row=first_row + wide,
                expected=f"at most {limits.columns:,}",
            )
        names = [name for name, known in zip(names, known_names(names, wanted), strict=True) if known is not None]
        places = chosen_columns(file, names, wanted, limits)
    columns: Mapping[str, list[Any]] = {
        known: [row.get(names[place]) for row in rows] for known, place in places.items()
    }
    for known, values in columns.items():
        for index, value in enumerate(values):
            # A character takes up to four bytes; only a long text is worth encoding.
            if type(value) is str and len(value) * 4 > limits.cell:
                size = len(value.encode("utf-8", "surrogatepass"))
                if size > limits.cell:
                    refuse_cell(file, first_row + index, known, size, limits)
    return Block(file, first_row, columns, tuple(names), oddities=oddities)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; half of a surrogate pair, NaN or a raw line end in a string are let through.

    Raises: ValueError where it is not JSON, too deep nesting included.
    """
    try:
        return orjson.loads(text)
    except ValueError:
        pass  # orjson refuses lone surrogates, which real battles hold; the standard library keeps them.
    return _standard_json(text)


def parse_row(line: bytes) -> Any:
    """As `parse_json`, with whole numbers beyond 64 bits as they are: orjson rounds them, and ids would be equal.

    Raises: RepeatedKeyError, a ValueError, for an object with a key twice; ValueError as `parse_json`.
    """
    try:
        row = orjson.loads(line)
    except ValueError:
        return _standard_json(line, _unique)
    if isinstance(row, dict) and (_has_rounded(row) or _may_repeat_a_key(line, row)):
        return _standard_json(line, _unique)
    return row


def parse_document(text: bytes) -> Any:
    """As `parse_row`, for a document of many rows."""
    try:
        document = orjson.loads(text)
    except ValueError:
        return _standard_json(text, _unique)
    if _may_repeat_a_key(text, document):
        return _standard_json(text, _unique)
    rows = document if isinstance(document, list) else [document]
    if isinstance(document, dict):
        rows += [inner for value in document.values() for inner in _values(value)]
    return _standard_json(text) if any(_has_rounded(row) for row in rows) else document


def _may_repeat_a_key(text: bytes, value: Any) -> bool:
    """Whether the text may have more keys than what was parsed of it; only then is it worth a slow parser.

    A key ends with `":`. In a string a quote has a backslash before it. Blanks before a colon, and a backslash that may
    itself be escaped, are left to the slow parser.
    """
    if _SPACED_KEY.search(text):
        return True
    flat = type(value) is dict and text.count(b"{") == 1
    keys, ends = len(value) if flat else _key_count(value), text.count(b'":')
    return ends != keys and (ends - text.count(b'\\":') != keys or b'\\\\":' in text)


def _key_count(value: Any) -> int:
    """Of all objects within."""
    count, waiting = 0, [value]
    while waiting:
        outer = waiting.pop()
        if type(outer) is dict:
            count += len(outer)
            waiting += [part for part in outer.values() if type(part) is dict or type(part) is list]
        elif type(outer) is list:
            waiting += [part for part in outer if type(part) is dict or type(part) is list]
    return count


def _values(value: Any) -> list[Any]:
    """The value and what it holds directly."""
    if isinstance(value, dict):
        return [value, *value.values()]
    return [value, *value] if isinstance(value, list) else [value]


def _has_rounded(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(type(number) is float and not abs(number) < EXACT_INTEGERS for number in inner)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedKeyError(next(name for name in names if names.count(name) > 1))
    return row


def _standard_json(text: str | bytes, objects: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None) -> Any:
    """By the standard library. objects: makes each object of its pairs."""
    try:
        return json.loads(text, strict=False, object_pairs_hook=objects)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
