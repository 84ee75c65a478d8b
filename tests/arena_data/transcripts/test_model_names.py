"""Models' names in what a teacher reads: counted by the budget, kept when texts are cut, on the side they belong to."""

import datasets
import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.schema import FEATURES
from arena_data.transcripts.model_names import named, names_missing, with_model_names
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import encoding_named
from reward_model.tokens.tokenizer import prepare_tokenizer
from tests.helpers.tiny_models import byte_tokenizer

LONG = " ".join(str(number) for number in range(2000))


def battles_of(*models: tuple[str | None, str | None], text: str = "Yes.") -> datasets.Dataset:
    rows = [
        dict.fromkeys(FEATURES)
        | {"id": str(row), "prompt": ["Sure?", "Really?"], "oddities": [], "model_a": a, "model_b": b}
        | {"response_a": ["A one", f"{text} A"], "response_b": ["B one", f"{text} B"]}
        for row, (a, b) in enumerate(models)
    ]
    return datasets.Dataset.from_list(rows, features=FEATURES)


def test_the_latest_turn_begins_with_the_name_and_nothing_else_changes() -> None:
    battles = battles_of(("gpt-4", "llama\n2 "), (None, "claude"))
    read = with_model_names(battles)
    assert read["response_a"] == [["A one", "[gpt-4]\nYes. A"], ["A one", "[unknown]\nYes. A"]]
    assert read["response_b"] == [["B one", "[llama 2]\nYes. B"], ["B one", "[claude]\nYes. B"]]
    others = [name for name in FEATURES if not name.startswith("response")]
    assert read.select_columns(others).to_list() == battles.select_columns(others).to_list()
    assert read.features == battles.features and names_missing(battles) == 1
    assert named([], "m") == ["[m]\n"] and named([None], None) == ["[unknown]\n"]


def test_battles_without_a_single_name_are_refused() -> None:
    with pytest.raises(InputError, match="no battle has one") as raised:
        with_model_names(battles_of((None, None), (None, None)))
    assert "\n" not in str(raised.value) and "model_a and model_b" in str(raised.value)
    assert len(with_model_names(battles_of((None, None)).select([]))) == 0


@pytest.mark.parametrize(
    ("encoding", "max_length"), [("separate", 400), ("separate", 500), ("joint", 500), ("joint", 700)]
)
def test_a_name_survives_the_cut_and_the_budget_holds(encoding: str, max_length: int) -> None:
    tokenizer = prepare_tokenizer(byte_tokenizer())
    encoder = BattleEncoder(tokenizer, max_length, encoding_named(encoding))
    [row] = encoder(with_model_names(battles_of(("gpt-4", "claude"), text=LONG)))
    for side, first, second in (("a", "gpt-4", "claude"), ("b", "claude", "gpt-4")):
        ids = row[f"input_ids_{side}"]
        text = tokenizer.decode(ids).replace(" ", "")  # one token a byte
        assert len(ids) <= max_length and f"[{first}]" in text
        assert (f"[{second}]" in text) == (encoding == "joint")
        assert encoding == "separate" or text.index(f"[{first}]") < text.index(f"[{second}]")
    assert row["tokens_cut"] > 0


def test_names_of_equal_length_are_cut_alike() -> None:
    tokenizer = prepare_tokenizer(byte_tokenizer())
    encoder = BattleEncoder(tokenizer, 300)
    one, other = encoder(with_model_names(battles_of(("gpt-4", "gpt-5"), ("gpt-5", "gpt-4"), text=LONG)))
    lengths = np.array([[len(row[f"input_ids_{side}"]) for side in "ab"] for row in (one, other)])
    assert (lengths == lengths[0, 0]).all()
