"""Rows in memory are read as the same rows of a file are, in whatever form they come."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles

ROWS: list[dict[str, Any]] = [
    {"id": 1, "prompt": "Hi?", "response_a": "Hello.", "response_b": "No.", "winner": "model_a", "model_a": "owl"},
    {"id": 2, "prompt": ["One", "Two"], "response_a": ["1", "2"], "response_b": ["a", "b"], "winner": "tie"},
    {"id": 2**70, "prompt": "half \ud800", "response_a": "é", "response_b": "", "winner": "model_b", "model_a": "fox"},
]
TEXTS = [
    {**row, "id": number, "prompt": str(number), "response_a": "x", "response_b": "y"}
    for number, row in enumerate(ROWS)
]
FORMS: list[Callable[[list[dict[str, Any]]], Any]] = [
    pd.DataFrame,
    datasets.Dataset.from_list,
    list,
    tuple,
    lambda rows: (row for row in rows),
    lambda rows: datasets.Dataset.from_list(rows).to_iterable_dataset(),
]


def as_file(rows: list[dict[str, Any]], folder: Path) -> datasets.Dataset:
    file = folder / "memory.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_battles(file)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_battles_of_the_file(form: Callable[[Any], Any], tmp_path: Path) -> None:
    battles = load_battles(form(TEXTS))
    assert battles.features == as_file(TEXTS, tmp_path).features
    assert battles[:] == as_file(TEXTS, tmp_path)[:]


def test_turns_surrogates_and_long_ids_are_read_as_in_a_file(tmp_path: Path) -> None:
    assert load_battles(ROWS)[:] == as_file(ROWS, tmp_path)[:]


def test_missing_values_of_pandas_and_numpy_are_nothing() -> None:
    frame = pd.DataFrame(TEXTS).assign(model_a=["owl", np.nan, pd.NA], winner=["model_a", None, "tie"], language=np.nan)
    battles = load_battles(frame)
    assert battles["model_a"][:] == ["owl", None, None] and battles["verdict"][1] is None
    with pytest.raises(InputError, match="memory, row 2"):
        load_battles(frame, labels="required")


def test_chat_messages_and_arrays_are_read() -> None:
    def chat(answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": answer}]

    row = {"conversation_a": chat("Yes."), "conversation_b": np.array(chat("No."), dtype=object), "winner": "model_b"}
    battles = load_battles([row])
    assert battles[0]["prompt"] == ["Hi?"] and battles[0]["response_b"] == ["No."]
    assert battles[0]["verdict"] == [0, 1, 0]


def test_battles_that_are_read_already_come_back_as_they_are() -> None:
    battles = load_battles(TEXTS)
    assert load_battles(battles) is battles
    unlabelled = load_battles([{key: value for key, value in row.items() if key != "winner"} for row in TEXTS])
    with pytest.raises(InputError, match="row 1: has no verdict"):
        load_battles(unlabelled, labels="required")


def test_no_rows_are_no_battles() -> None:
    assert len(load_battles(iter([]))) == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([{"id": 1}, "text"], "memory, row 2: not a dict"),
        ([{"prompt": object()}], "memory, row 1: cannot be written as JSON"),
        ({"train": ROWS}, "name a split"),
        (7, "expected files, a DataFrame"),
        ([{"colour": "red"}], "memory"),
    ],
)
def test_what_is_no_battle_is_refused_in_one_line(data: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        load_battles(data)
    assert "\n" not in str(error.value)


def test_one_split_and_config_of_a_dataset(tmp_path: Path) -> None:
    """A folder laid out as a Hub dataset is: two configs, of which one has two splits."""
    head = "---\nconfigs:\n- config_name: votes\n  data_files:\n  - {split: train, path: train.jsonl}\n"
    head += "  - {split: test, path: test.jsonl}\n- config_name: other\n  data_files: other.jsonl\n---\n"
    (tmp_path / "README.md").write_text(head)
    for name, rows in (("train", TEXTS[:1]), ("test", TEXTS[1:]), ("other", TEXTS[:2])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_battles(tmp_path, config="votes", split="test")["id"][:] == ["1", "2"]
    assert load_battles(tmp_path, config="other", split="train")["id"][:] == ["0", "1"]
    with pytest.raises(InputError, match="split 'nowhere' cannot be read"):
        load_battles(tmp_path, config="votes", split="nowhere")
    with pytest.raises(InputError, match="a config needs a split"):
        load_battles(tmp_path, config="votes")
    with pytest.raises(InputError, match="of one Hub dataset"):
        load_battles([TEXTS], split="train")
