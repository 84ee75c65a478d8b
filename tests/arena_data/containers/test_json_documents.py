"""A table written as one JSON document reads as the same rows, whichever way it is laid out; else it is named."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.helpers.small_tables import BATTLES, PLAIN, Row, as_turns, error_of, load, rows_of

# What pandas would make of the index, were it written as a row's own text.
FRAME = pd.DataFrame(PLAIN)


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("orient", ["columns", "split", "tight", "table", "index", "records"])
@pytest.mark.parametrize("indent", [None, 1])
def test_every_orient_of_pandas_is_the_same_rows(orient: Any, ending: str, indent: int | None, tmp_path: Path) -> None:
    text = json.dumps(FRAME.to_dict(orient="tight")) if orient == "tight" else FRAME.to_json(orient=orient)
    battles = load(tmp_path, f"f{ending}", json.dumps(json.loads(text), indent=indent))
    assert rows_of(battles) == as_turns(PLAIN)


def columns_of(rows: list[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize("rows", [PLAIN, BATTLES], ids=["texts", "turns"])
@pytest.mark.parametrize(
    "layout",
    [
        columns_of,
        lambda rows: {"data": rows},
        lambda rows: {"rows": rows},
        lambda rows: {"version": "1.0", "data": rows},
        lambda rows: {"features": [{"name": "id"}], "rows": [{"row_idx": n, "row": r} for n, r in enumerate(rows)]},
        lambda rows: {"data": columns_of(rows)},
        lambda rows: {"train": rows},
    ],
)
def test_lists_by_column_and_rows_under_a_key(layout: Any, rows: list[Row], tmp_path: Path) -> None:
    battles = load(tmp_path, "f.json", json.dumps(layout(rows)))
    assert rows_of(battles) == (as_turns(rows) if rows is PLAIN else rows)


def test_one_battle_is_one_row(tmp_path: Path) -> None:
    for row in (BATTLES[1], PLAIN[0], {k: v for k, v in BATTLES[1].items() if k != "id"} | {"votes": {"tie": 1}}):
        for name in ("f.json", "f.jsonl"):
            assert len(load(tmp_path, name, json.dumps(row))) == 1
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    row = {"conversation_a": messages, "conversation_b": messages}
    assert load(tmp_path, "f.json", json.dumps(row))["prompt"] == [["Hi"]]


def test_columns_without_an_id_may_be_turns(tmp_path: Path) -> None:
    """JSON Lines has a row a line; in a document nobody can tell two turns from two battles."""
    row = {name: BATTLES[1][name] for name in ("prompt", "response_a", "response_b")}
    assert load(tmp_path, "f.jsonl", json.dumps(row))["prompt"] == [BATTLES[1]["prompt"]]
    assert "2 rows, or one battle of 2 turns" in str(error_of(tmp_path, "f.json", json.dumps(row)))


@pytest.mark.parametrize(
    "document, says",
    [
        ([[1, "p", "a", "b"]], "without column names"),
        ({"data": [[1, "p", "a", "b"]]}, "without column names"),
        ({"columns": ["id", "prompt"], "data": [["1"]]}, "orient 'split', with a row of another length"),
        ({"id": [1, 2], "prompt": ["p"], "response_a": ["a", "b"], "response_b": ["a", "b"]}, "different lengths"),
        ({"id": {"0": 1}, "prompt": {"1": "p"}, "response_a": {"0": 1}, "response_b": {"0": 1}}, "different rows"),
        ({**columns_of(PLAIN), "votes": {"model_a": [1, 0, 0], "tie": [0, 1, 1]}}, "different lengths"),
        ({"train": PLAIN, "test": PLAIN}, "several tables: 'train', 'test'"),
        ({"version": 1, "note": "x"}, "its columns are 'version', 'note'"),
    ],
)
def test_a_layout_that_is_not_certain_is_named(document: Any, says: str, tmp_path: Path) -> None:
    assert says in str(error_of(tmp_path, "f.json", json.dumps(document)))


def test_whole_numbers_beyond_64_bits_are_ids_of_their_own(tmp_path: Path) -> None:
    ids = [10**25 + n for n in range(3)]
    rows = [row | {"id": number} for row, number in zip(PLAIN, ids, strict=True)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for text in (lines, json.dumps(rows), json.dumps(columns_of(rows)), json.dumps({"data": rows})):
        assert load(tmp_path, "f.json", text)["id"] == [str(number) for number in ids]
