"""Grades in the spellings of the releases: read into one number, telling the verdict, never at odds with it."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.reading.grades import from_signed, from_strength
from arena_data.reading.verdicts import TIE, A, B
from arena_data.splits.folds import drop_duplicates
from arena_data.splits.write_split import battle_line

TEXTS = {"prompt": ["Hello"], "response_a": ["yes"], "response_b": ["no"]}
PAIR = {"prompt": "Hello", "chosen": "yes", "rejected": "no"}


def load(folder: Path, *rows: dict[str, Any], labels: Any = "required") -> datasets.Dataset:
    file = folder / "graded.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    battles = load_battles(str(file), labels=labels)
    assert isinstance(battles, datasets.Dataset)
    return battles


@pytest.mark.parametrize(
    ("cell", "size", "side"),
    [
        ("much better", 3, None),
        ("better", 2, None),
        ("slightly better", 1, None),
        ("slightly", 1, None),
        ("equal", None, TIE),
        ("About the same", None, TIE),
        ("a-is-better", 2, A),
        ("b-is-slightly-better", 1, B),
        ("tie", None, TIE),
        ("B is much better", 3, B),
        ("Response 1 is slightly better than Response 2", 1, A),
        ("model_b is significantly better", 3, B),
        ("2", 2, None),
        (0.5, 0.5, None),
        (0, None, TIE),
    ],
)
def test_words_and_numbers_of_strength(cell: Any, size: float | None, side: Any) -> None:
    assert from_strength(cell) == (size, side)


@pytest.mark.parametrize(("cell", "size", "side"), [(-3, 3, A), ("-1", 1, A), (0, None, TIE), (2.0, 2, B)])
def test_helpsteers_numbers(cell: Any, size: float | None, side: Any) -> None:
    assert from_signed(cell) == (size, side)


def test_a_grade_that_names_the_side_is_the_verdict(tmp_path: Path) -> None:
    words = ("a-is-better", "b-is-slightly-better", "tie")
    battles = load(tmp_path, *(TEXTS | {"strength": word} for word in words))
    assert battles["verdict"] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert battles["strength"] == [2, 1, None]
    signed = load(tmp_path, *(TEXTS | {"overall_preference": number} for number in (-3, 1, 0)))
    assert (signed["verdict"], signed["strength"]) == (battles["verdict"], [3, 1, None])


def test_a_margin_of_chosen_and_rejected(tmp_path: Path) -> None:
    battles = load(tmp_path, PAIR | {"margin": 0.0}, PAIR | {"margin": 1.5}, PAIR | {"margin": None})
    assert battles["strength"] == [0, 1.5, None]
    assert all(verdict != [0, 0, 1] for verdict in battles["verdict"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            TEXTS | {"winner": "b", "strength": "a-is-better"},
            "found 'a-is-better'; expected what the other columns say",
        ),
        (TEXTS | {"winner": "tie", "strength": "better"}, "no grade above 0 beside a tie"),
        (TEXTS | {"winner": "a", "strength": "equal"}, "expected what the other columns say, which is that A won"),
        (TEXTS | {"winner": "a", "strength": "-2"}, "signed numbers (negative: A is better) go into a column"),
        (TEXTS | {"winner": "a", "strength": "purple"}, "expected words such as"),
        (TEXTS | {"winner": "a", "preference_strength": 2}, "expected what the other columns say"),
        (TEXTS | {"winner": "a", "preference_strength": 7}, "a whole number from -3"),
        (PAIR | {"margin": -0.5}, "a number of at least 0"),
        (TEXTS | {"winner": "a", "strength": "better", "margin": 2}, "two columns of grades, strength and margin"),
    ],
)
def test_a_grade_at_odds_with_the_verdict_is_refused(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        load(tmp_path, row)
    assert message in str(refused.value) and "graded.jsonl" in str(refused.value)
    # Prediction asks for no grade.
    assert load(tmp_path, row, labels="optional")["strength"] in ([None], [2.0])


def test_copies_and_files_keep_a_grade(tmp_path: Path) -> None:
    swapped = {"prompt": ["Hello"], "response_a": ["no"], "response_b": ["yes"], "winner": "b"}
    rows = [TEXTS | {"winner": "a", "strength": 3}, swapped | {"strength": 1}, swapped | {"strength": 1}]
    unique, left_out = drop_duplicates(load(tmp_path, *rows))
    assert left_out == 2 and unique["strength"] == [1] and unique["verdict"] == [[1, 0, 0]]
    least = load(tmp_path, PAIR | {"margin": 0.0})
    (tmp_path / "written.jsonl").write_bytes(battle_line(least[0]))
    again = load_battles(str(tmp_path / "written.jsonl"), labels="required")
    assert again["strength"] == [0] and again["verdict"] == least["verdict"]
