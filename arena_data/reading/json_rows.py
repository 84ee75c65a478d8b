"""JSON in, rows out: JSON Lines, or one document that is a list of objects.

Real battles hold what strict parsers refuse, half of a surrogate pair above all; it is let through here and repaired
where text is cleaned.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import orjson

from arena_data.errors import InputError


def refuse_utf16(file: str, start: bytes) -> None:
    """Raises: InputError where a file begins with the mark of UTF-16."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError("is UTF-16", file=file, expected="UTF-8", fix="save it as UTF-8")


def json_rows(file: str, stream: io.BufferedReader) -> Iterator[Any]:
    """The rows of a stream, whatever their type. Raises: InputError where it is not JSON, naming the row."""
    first = stream.readline().removeprefix(b"\xef\xbb\xbf")
    refuse_utf16(file, first)
    while first.isspace():
        first = stream.readline()
    try:
        head = parse_json(first) if first.lstrip().startswith(b"{") else None
    except ValueError:
        head = None  # An object over several lines: a whole document, or a broken first line.
    if isinstance(head, dict) and len(head) == 1 and isinstance(next(iter(head.values())), list):
        head = None  # No battle has but one column: this is a document on one line, as `{"data": [...]}`.
    if head is not None:
        yield head
        number = 1
        for line in stream:
            if not line.isspace():
                number += 1
                try:
                    yield parse_json(line)
                except ValueError as error:
                    raise InputError(f"not JSON ({error})", file=file, row=number, found=line[:200]) from error
        return
    try:
        document = parse_json(first + stream.read()) if first else []
    except ValueError as error:
        raise InputError(f"not JSON ({error})", file=file, row=1, found=first[:200]) from error
    if isinstance(document, dict):
        lists = [value for value in document.values() if isinstance(value, list)]
        document = lists[0] if len(document) == len(lists) == 1 else [document]
    if not isinstance(document, list):
        raise InputError("not battles", file=file, found=document, expected="a list of JSON objects")
    yield from document


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; half of a surrogate pair, NaN or a raw line end in a string are let through.

    Raises: ValueError where it is not JSON, too deep nesting included.
    """
    try:
        return orjson.loads(text)
    except ValueError:
        pass  # orjson refuses lone surrogates, which real battles hold; the standard library keeps them.
    try:
        return json.loads(text, strict=False)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
