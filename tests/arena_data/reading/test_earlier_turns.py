"""What was said before the prompt goes before it, once; what nobody can tell the speaker of is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.small_tables import Row, error_of, load

EARLIER = [{"role": "user", "content": "Two fruits."}, {"role": "assistant", "content": "Apple, pear."}]
TEXTS: Row = {"id": "1", "prompt": "A third?", "response_a": "Plum.", "response_b": "Grape."}
CHOSEN: Row = {"id": "1", "prompt": "A third?", "chosen": "Plum.", "rejected": "Grape."}
ASKED = {"role": "user", "content": "A third?"}
MESSAGES: Row = {
    "id": "1",
    "chosen": [ASKED, {"role": "assistant", "content": "Plum."}],
    "rejected": [ASKED, {"role": "assistant", "content": "Grape."}],
}
DIALOGUE = "\n\nHuman: Two fruits.\n\nAssistant: Apple, pear."
PAIRS = [["Two fruits.", "Apple, pear."]]


@pytest.mark.parametrize("column", ["context", "history", "conversation", " Context"])
@pytest.mark.parametrize("row", [TEXTS, CHOSEN, MESSAGES], ids=["texts", "chosen", "messages"])
@pytest.mark.parametrize(
    "earlier",
    [EARLIER, json.dumps(EARLIER), repr(EARLIER), PAIRS, PAIRS[0], [*EARLIER, ASKED], DIALOGUE],
)
def test_earlier_turns_go_before_the_prompt(column: str, row: Row, earlier: Any, tmp_path: Path) -> None:
    (battle,) = load(tmp_path, "f.jsonl", json.dumps(row | {column: earlier}))
    assert battle["prompt"] == ["Two fruits.", "A third?"]
    assert sorted([battle["response_a"], battle["response_b"]]) == [
        ["Apple, pear.", "Grape."],
        ["Apple, pear.", "Plum."],
    ]


@pytest.mark.parametrize("earlier", [None, "", [], " "])
def test_no_earlier_turns_change_nothing(earlier: Any, tmp_path: Path) -> None:
    for row in (TEXTS, CHOSEN):
        (battle,) = load(tmp_path, "f.jsonl", json.dumps(row | {"context": earlier}))
        assert battle["prompt"] == ["A third?"] and {*battle["response_a"], *battle["response_b"]} == {
            "Plum.",
            "Grape.",
        }


def test_turns_that_are_there_already_come_once(tmp_path: Path) -> None:
    chosen = {name: [*EARLIER, *MESSAGES[name]] for name in ("chosen", "rejected")}
    turns = {
        "prompt": ["Two fruits.", "A third?"],
        "response_a": ["Apple, pear.", "x"],
        "response_b": ["Apple, pear.", "y"],
    }
    for row in (chosen, turns):
        (battle,) = load(tmp_path, "f.jsonl", json.dumps({**row, "id": "1", "history": EARLIER}))
        assert battle["prompt"] == ["Two fruits.", "A third?"] and len(battle["response_a"]) == 2


@pytest.mark.parametrize("earlier", ["A passage of a book.", ["one", "two", "three"], {"a": 1}, 7, [1, 2], "[1, 2]"])
@pytest.mark.parametrize("row", [TEXTS, CHOSEN])
def test_what_has_no_speaker_is_refused(row: Row, earlier: Any, tmp_path: Path) -> None:
    text = "".join(json.dumps(line) + "\n" for line in (row, row | {"id": "2", "context": earlier}))
    error = error_of(tmp_path, "f.jsonl", text)
    assert (error.row, error.column) == (2, "context")
