"""Text cells are lists of turns where the file as a whole says so: JSON's, Python's and numpy's; never one cell alone."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_data.containers.python_literals import parse_literal
from tests.helpers.small_tables import BATTLES, PLAIN, as_turns, csv_text, error_of, load, rows_of

TURNS = st.lists(st.none() | st.text(max_size=8), max_size=4)
TEXTS = ("prompt", "response_a", "response_b")


@given(TURNS)
def test_what_python_and_numpy_write_is_read_back(turns: list[str | None]) -> None:
    assert parse_literal(repr(turns)) == turns and parse_literal(repr(tuple(turns))) == turns
    array = np.array(turns, dtype=object)
    assert parse_literal(repr(array)) == turns and parse_literal(str(array)) == turns
    assert parse_literal(repr([{"role": "user", "content": turns}])) == [{"role": "user", "content": turns}]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "['a', 'b' 'c']",
            "['a' 'b', 'c']",
            "['a' ... 'b']",
            "[x]",
            "['a'",
            "'a']",
            "__import__('os')",
            "[" * 100_000,
        ),
        *("[f'a']", "[b'a']", "['a'] + ['b']", "{'a'}", "array('a')", "['a' if 1 else 'x']", "[1 for _ in 'a']", ""),
    ],
)
def test_what_is_no_literal_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_literal(text)


def as_written(rows: list[dict[str, Any]], write: Any) -> list[dict[str, Any]]:
    return [{k: write(v) if k in TEXTS else v for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize(
    "write",
    [repr, lambda v: repr(tuple(v)), lambda v: str(np.array(v, object)), lambda v: repr(np.array(v, object))],
    ids=["list", "tuple", "numpy", "array"],
)
def test_literals_in_cells(write: Any, one_hot: bool, tmp_path: Path) -> None:
    rows = as_written(BATTLES, write)
    if one_hot:
        rows = [row | dict(winner_model_a="0", winner_model_b="False", winner_tie="TRUE") for row in rows]
    battles = load(tmp_path, "f.csv", csv_text(rows))
    assert rows_of(battles) == BATTLES and not any(battles["oddities"])
    assert battles["verdict"] == [[0, 0, 1] if one_hot else None] * 3


@pytest.mark.parametrize("write", [str, repr])
def test_messages_as_literals(write: Any, tmp_path: Path) -> None:
    def talk(prompt: str, answer: str) -> str:
        return str(write(np.array([{"content": prompt, "role": "user"}, {"content": answer, "role": "assistant"}])))

    rows = [{"id": "1", "conversation_a": talk("it's", 'a "q"\n'), "conversation_b": talk("it's", "b")}]
    (battle,) = load(tmp_path, "f.csv", csv_text(rows))
    assert (battle["prompt"], battle["response_a"], battle["response_b"]) == (["it's"], ['a "q"\n'], ["b"])
    rows = [{"id": "1", "chosen": talk("p", "good"), "rejected": talk("p", "bad")}]
    (battle,) = load(tmp_path, "g.csv", csv_text(rows))
    assert battle["prompt"] == ["p"] and {*battle["response_a"], *battle["response_b"]} == {"good", "bad"}


@pytest.mark.parametrize("plain", TEXTS)
@pytest.mark.parametrize("name", ["f.csv", "f.jsonl", "f.parquet"])
def test_one_column_of_plain_text_makes_all_plain(plain: str, name: str, tmp_path: Path) -> None:
    """WSDM Cup: two models asked for a JSON list give one each."""
    rows = [{"id": f"{n}", **dict.fromkeys(TEXTS, f'["Ann {n}", "Bob"]')} for n in range(3)]
    rows[2][plain] = "Two names, please"
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    content = {"f.csv": csv_text(rows), "f.jsonl": lines, "f.parquet": sink.getvalue()}[name]
    assert rows_of(load(tmp_path, name, content)) == as_turns(rows)


def test_a_plain_row_after_many_blocks_of_lists_makes_all_plain(tmp_path: Path) -> None:
    listed = [{"id": f"{n}", **dict.fromkeys(TEXTS, '["a", "b"]')} for n in range(9_000)]
    plain = [{"id": f"p{n}", **dict.fromkeys(TEXTS, "plain")} for n in range(200)]
    battles = load(tmp_path, "f.csv", csv_text([*listed, *plain]))
    assert battles[0]["prompt"] == ['["a", "b"]'] and battles[-1]["prompt"] == ["plain"] and len(battles) == 9_200
    # A few cells in thousands are broken ones: a test file is not lost to them.
    battles = load(tmp_path, "g.csv", csv_text([*listed, *plain[:9]]))
    assert battles[0]["prompt"] == ["a", "b"] and battles[-1]["oddities"][-1] == "unparsed_json"


def test_plain_text_stays(tmp_path: Path) -> None:
    rows = [row | {"response_a": "['no list"} for row in PLAIN]
    assert rows_of(load(tmp_path, "f.csv", csv_text(rows))) == as_turns(rows)


def test_numpys_ellipsis_is_refused_in_training(tmp_path: Path) -> None:
    rows = [
        row | {"winner_model_a": "1", "winner_model_b": "0", "winner_tie": "0"} for row in as_written(BATTLES, repr)
    ]
    rows[2]["response_a"] = "['a' 'b' ... 'c']"
    error = error_of(tmp_path, "f.csv", csv_text(rows), labels="required")
    assert (error.row, error.column) == (3, "response_a")
