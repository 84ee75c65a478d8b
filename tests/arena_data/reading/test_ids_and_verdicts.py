"""Ids stay what they are, each once; ties of preference data stay ties; what contradicts itself is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.small_tables import PLAIN, Row, error_of, load

CHOSEN: Row = {"id": "1", "prompt": "p", "chosen": "good", "rejected": "bad"}


def lines(*rows: Row) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def vote(question: int, judge: str, winner: str, a: str = "m1", b: str = "m2", answer: str = "x") -> Row:
    def talk(text: str) -> list[Row]:
        return [{"role": "user", "content": f"Q{question}"}, {"role": "assistant", "content": text}]

    names = {"question_id": question, "model_a": a, "model_b": b, "winner": winner, "judge": judge, "turn": 1}
    return names | {"conversation_a": talk(a + answer), "conversation_b": talk(b)}


def test_several_votes_on_a_battle_are_rows_of_their_own(tmp_path: Path) -> None:
    votes = [vote(81, "j0", "model_a"), vote(82, "j0", "tie"), vote(81, "j1", "model_b"), vote(81, "j1", "tie", a="m3")]
    battles = load(tmp_path, "f.jsonl", lines(*votes, vote(81, "j3", "tie")))
    assert battles["id"] == ["81", "82", "81#2", "81#3", "81#4"]
    assert battles["verdict"] == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1], [0, 0, 1]]


def test_one_id_for_different_battles_is_an_error(tmp_path: Path) -> None:
    error = error_of(tmp_path, "f.jsonl", lines(vote(81, "j0", "tie"), vote(81, "j1", "tie", answer="other")))
    assert "duplicate id, the same as in row 1" in str(error) and error.row == 2
    error = error_of(tmp_path, "g.jsonl", lines(PLAIN[0], PLAIN[1] | {"id": "101"}))
    assert "duplicate id" in str(error) and error.row == 2


@pytest.mark.parametrize(
    "cell, says",
    [("1e400", "too large"), ('"a\\ud83d"', "surrogate"), ("[1]", "list"), ('{"a": 1}', "list or an object")],
)
def test_an_id_that_no_submission_can_hold_is_refused(cell: str, says: str, tmp_path: Path) -> None:
    text = lines(PLAIN[0]) + lines(PLAIN[1]).replace('"102"', cell)
    error = error_of(tmp_path, "f.jsonl", text)
    assert says in str(error) and (error.row, error.column) == (2, "id")


@pytest.mark.parametrize(
    "columns, tie",
    [
        ({"tie": True}, True),
        ({"tie": "True", "winner": "tie"}, True),
        ({"tie": 0, "winner": "model_b"}, False),
        ({"winner": "tie (bothbad)"}, True),
        ({"winner": "chosen"}, False),
        ({"verdict": "tie"}, True),
        ({"winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1}, True),
        ({"score_chosen": 7, "score_rejected": 7.0}, True),
        ({"score_chosen": 8, "score_rejected": 7.0}, False),
        ({"score_chosen": None, "score_rejected": 7.0}, False),
        ({"chosen-rating": "4", "rejected-rating": "4"}, True),
        ({"score_chosen": 7, "score_rejected": 7, "tie": False}, False),
        ({"score_chosen": 7, "score_rejected": 8, "tie": True}, True),
        ({}, False),
    ],
)
def test_ties_beside_chosen_and_rejected(columns: Row, tie: bool, tmp_path: Path) -> None:
    (battle,) = load(tmp_path, "f.jsonl", lines(CHOSEN | columns), labels="required")
    winner = "tie" if tie else ("a" if battle["response_a"] == ["good"] else "b")
    assert battle["verdict"] == {"a": [1, 0, 0], "b": [0, 1, 0], "tie": [0, 0, 1]}[winner]


ONE_HOT_A = {"winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}


@pytest.mark.parametrize(
    "row, column",
    [
        (CHOSEN | {"tie": True, "winner": "model_a"}, "tie"),
        (CHOSEN | {"tie": False, "winner": "tie"}, "tie"),
        (CHOSEN | {"winner": "rejected"}, "winner"),
        (CHOSEN | {"score_chosen": 1, "score_rejected": 2}, "chosen"),
        (CHOSEN | {"score_chosen": "high", "score_rejected": 2}, "chosen"),
        (CHOSEN | {"tie": "perhaps"}, "tie"),
        (PLAIN[0] | {"tie": True, "winner": "model_b"}, "tie"),
        (PLAIN[0] | ONE_HOT_A | {"winner": "model_b"}, "winner"),
        (PLAIN[0] | {"votes": [1, 3, 0], "winner": "model_a"}, "winner"),
        (PLAIN[0] | {"votes": [1, 3, 0]} | ONE_HOT_A, "winner_model_a"),
    ],
)
def test_contradictions_are_refused(row: Row, column: str, tmp_path: Path) -> None:
    assert error_of(tmp_path, "f.jsonl", lines(row)).column == column


@pytest.mark.parametrize("votes, winner", [([3, 1, 0], "model_a"), ([1, 1, 1], "tie"), ([2, 2, 0], "tie")])
def test_a_majority_and_its_name_are_no_contradiction(votes: list[int], winner: str, tmp_path: Path) -> None:
    (battle,) = load(tmp_path, "f.jsonl", lines(PLAIN[0] | {"votes": votes, "winner": winner}))
    assert battle["verdict"] == pytest.approx([vote / sum(votes) for vote in votes])


@pytest.mark.parametrize(
    "columns, says",
    [
        ({"chosen": ["a"], "rejected": ["b", "c"], "num_correct": 1}, "looks like RewardBench 2, 1 chosen and 2"),
        ({"chosen": ["a"] * 3, "rejected": ["b"] * 3}, "looks like RM-Bench, 3 chosen and 3"),
    ],
)
def test_a_benchmark_of_several_answers_is_named(columns: Any, says: str, tmp_path: Path) -> None:
    assert says in str(error_of(tmp_path, "f.jsonl", lines({"id": "1", "prompt": "p", **columns})))
    (battle,) = load(tmp_path, "g.jsonl", lines({"id": "1", "prompt": "p", "chosen": ["a"], "rejected": ["b"]}))
    assert sorted([battle["response_a"], battle["response_b"]]) == [["a"], ["b"]]


def test_judgebench_and_search_arena(tmp_path: Path) -> None:
    row = {"pair_id": "x1", "question": "q", "response_A": "a", "response_B": "b", "label": "B>A"}
    (battle,) = load(tmp_path, "f.jsonl", lines(row), labels="required")
    assert (battle["id"], battle["prompt"], battle["response_b"]) == ("x1", ["q"], ["b"])
    assert battle["verdict"] == [0, 1, 0]
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    row = {"question_id": "s", "messages_a": talk, "messages_b": talk, "winner": "tie"}
    (battle,) = load(tmp_path, "g.jsonl", lines(row), labels="required")
    assert (battle["id"], battle["prompt"], battle["verdict"]) == ("s", ["q"], [0, 0, 1])


def test_rounded_probabilities_of_a_teacher(tmp_path: Path) -> None:
    (battle,) = load(tmp_path, "f.jsonl", lines(PLAIN[0] | {"teacher": [0.33, 0.33, 0.33]}))
    assert battle["teacher"] == pytest.approx([1 / 3] * 3)
    assert "sum of 1, not 0.9" in str(error_of(tmp_path, "g.jsonl", lines(PLAIN[0] | {"teacher": [0.3, 0.3, 0.3]})))
