"""A key that an object has twice is refused, wherever it is written, and what only looks like one is not."""

import json
from pathlib import Path

import pytest

from arena_data.containers.json_rows import parse_row
from tests.helpers.small_tables import PLAIN, error_of, load

START = '{"id": "7", "prompt": "p", "response_a": "first", '
REPEATED = [
    START + '"response_a": "second", "response_b": "b"}',
    START + '"response_b": "b","response_a" : "second"}',
    START + '"response_b": "b",\t"response_\\u0061"\t: "second"}',  # an escape in the key
    START + '"response_b": "say \\"a\\": \\"b\\"", "response_a": "second"}',  # a colon after a quote in a text
    START + '"x\\\\": 1, "response_b": "b", "response_a": "second"}',  # a key that ends with a backslash
    START + '"response_b": "half \\ud83d", "response_a": "second"}',  # which orjson does not read
    START + '"response_b": "b", "large": 99999999999999999999999, "response_a": "second"}',
    START + '"response_b": "b", "inner": {"k": 1, "k": 2}}',
]
ONCE = [
    '{"id": "7", "prompt": "p", "response_a": "a", "response_b": "{\\"a\\": 1, \\"a\\" : 2}"}',
    '{"id" : "7", "prompt" : "p", "response_a" : "a", "response_b" : "b"}',
    '{"id": "7", "x\\\\": 1, "x": 2, "inner": {"id": "8"}, "response_a": "\\\\\\":"}',
    '{"id": "7", "turns": [{"role": "a"}, {"role": "b"}], "empty": {}}',
]


@pytest.mark.parametrize("line", REPEATED)
def test_a_key_that_is_written_twice_is_refused_with_its_row(line: str, tmp_path: Path) -> None:
    rows = [json.dumps(row) for row in PLAIN]
    error = error_of(tmp_path, "f.jsonl", "\n".join([*rows[:2], line, rows[2]]))
    assert error.row == 3 and "is written twice in one object; keep one of the two" in str(error)
    assert error_of(tmp_path, "g.jsonl", "\n".join([line, *rows])).row == 1
    assert "is written twice" in str(error_of(tmp_path, "h.json", f"[{rows[0]},\n {line}]"))


@pytest.mark.parametrize("line", ONCE)
def test_what_only_looks_like_a_key_is_read(line: str) -> None:
    assert parse_row(line.encode()) == json.loads(line)


def test_a_document_with_blanks_before_its_colons_is_read(tmp_path: Path) -> None:
    text = json.dumps(PLAIN, indent=2, separators=(",", " : "))
    assert load(tmp_path, "f.json", text)["id"] == [row["id"] for row in PLAIN]
