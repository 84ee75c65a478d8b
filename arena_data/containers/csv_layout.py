"""How a CSV file is laid out, told from its first megabyte: encoding, delimiter, quoting and header.

A layout other than plain CSV is taken only where it is certain: another delimiter where it alone gives the columns of
battles, backslash escapes where plain CSV cannot be read and they can.
"""

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from arena_data.containers.byte_streams import Source, as_utf8, encoding_of, open_bytes
from arena_data.containers.column_names import known_names
from arena_data.containers.limits import Limits, size_text
from arena_data.errors import InputError

DELIMITERS = ",;\t|"
# Excel's first line, which names the delimiter.
NAMED_DELIMITER = re.compile(r'"?sep=(.)"?\r?\n')
LINE_END = re.compile(r"\r\n|\n|\r")
BLANK_LINES = re.compile(r"[\r\n]*")
BACKSLASH_QUOTE = re.compile(r'\\"(?!")')
# A backslash before anything else is a text's own, which a reader of escapes would drop.
OTHER_BACKSLASH = re.compile(r'\\(?:\\|["\r\n,;\t|])|(\\)', re.DOTALL)


@dataclass(frozen=True)
class CsvLayout:
    """`names` as the header has them; `skipped_lines` stand before it; `backslashes` escape quotes, not other quotes."""

    names: list[str]
    delimiter: str
    encoding: str | None
    skipped_lines: int
    backslashes: bool

    def describe(self) -> str:
        return "" if self.delimiter == "," else f" (read with {self.delimiter!r} between fields)"

    def open(self, file: str, limits: Limits) -> pa.NativeFile:
        """The file as UTF-8. Not to be closed while Arrow may read ahead."""
        return as_utf8(open_bytes(file, limits), self.encoding)


def csv_layout(file: str, wanted: Collection[str], limits: Limits) -> CsvLayout:
    """Raises: InputError where the file has no readable header or its layout is not certain."""
    with open_bytes(file, limits) as stream:
        start = _read_up_to(stream, limits.header)
    whole = len(start) < limits.header
    encoding = encoding_of(file, start)
    text = start.decode(encoding or "utf-8", "replace").lstrip("\ufeff")
    if not text.strip():
        raise InputError("is empty", file=file, expected="a header line and battles")
    if not whole:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    text, skipped_lines = _without_blank_lines(text)
    named = NAMED_DELIMITER.match(text)
    if named:
        text, blank_after = _without_blank_lines(text[named.end() :])
        skipped_lines += 1 + blank_after
    delimiter = named[1] if named else _delimiter(text, wanted)
    names = _header(file, text, delimiter, limits)
    if delimiter == "|" and any(name != name.strip() for name in names):
        raise InputError("looks like a table of Markdown, padded with spaces", file=file, fix="write it as CSV")
    backslashes = False
    if BACKSLASH_QUOTE.search(text) and not _is_even(text, delimiter, len(names), whole):
        backslashes = _is_even(text, delimiter, len(names), whole, escapechar="\\", doublequote=False)
        if not backslashes or any(match[1] for match in OTHER_BACKSLASH.finditer(text)):
            raise InputError(
                'looks like a file whose quotes are escaped by backslashes (\\"), but not everything in it is',
                file=file,
                fix="write it with quotes doubled",
            )
    return CsvLayout(names, delimiter, encoding, skipped_lines, backslashes)


def _without_blank_lines(text: str) -> tuple[str, int]:
    """The text from its first line that is not empty, and how many lines were."""
    start = BLANK_LINES.match(text)
    assert start is not None  # it matches nothing, too
    return text[start.end() :], len(LINE_END.findall(start[0]))


def _read_up_to(stream: Source, size: int) -> bytes:
    """The first bytes: a decompressed stream may give fewer at a time than were asked for."""
    parts: list[bytes] = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _first_record(text: str, delimiter: str) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return next((record for record in reader if record), [])


def _delimiter(text: str, wanted: Collection[str]) -> str:
    """The delimiter that gives the most columns of battles; of equal ones, the one that gives the most columns."""

    def worth(delimiter: str) -> tuple[int, bool, int]:
        try:
            names = _first_record(text, delimiter)
        except csv.Error:
            return 0, delimiter == ",", 0
        known = sum(name is not None for name in known_names(names, wanted))
        return known, known > 0 and delimiter == ",", len(names) if len(names) > 2 else 0

    return max(DELIMITERS, key=worth)


def _header(file: str, text: str, delimiter: str, limits: Limits) -> list[str]:
    try:
        names = _first_record(text, delimiter)
    except csv.Error as error:
        raise InputError(f"has no readable header ({error})", file=file, fix="is a quote left open?") from error
    if not names:
        raise InputError("is empty", file=file, expected="a header line and battles")
    if sum(map(len, names)) >= limits.header - len(names):
        raise InputError(
            f"has no readable header in its first {size_text(limits.header)}", file=file, fix="is a quote left open?"
        )
    return names


def _is_even(text: str, delimiter: str, width: int, whole: bool, **dialect: Any) -> bool:
    """Whether the records, strictly read, are all as long as the header; the last one may be cut short."""
    widths: list[int] = []
    try:
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, **dialect)
        widths.extend(len(record) for record in records if record)
    except csv.Error as error:
        if whole or "unexpected end" not in str(error):
            return False
    return set(widths if whole else widths[:-1]) <= {width}
