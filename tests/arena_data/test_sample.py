"""The written sample `arena_data/sample.csv` is what its header page says: exact schema, fair shares, no giveaway.

A demo trained on it only shows something if neither side, length nor formatting gives the verdict away; SAMPLE.md
states the rules. Only the standard library reads the file here, so the reader under test elsewhere plays no part.
"""

import csv
import json
import unicodedata
from collections import Counter
from pathlib import Path
from statistics import NormalDist

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "arena_data" / "sample.csv"
TEXTS = ("prompt", "response_a", "response_b")
WINNERS = ("winner_model_a", "winner_model_b", "winner_tie")
COLUMNS = ["id", "model_a", "model_b", *TEXTS, *WINNERS]
Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with SAMPLE.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        read = list(reader)
        assert reader.fieldnames == COLUMNS
    return read


def turns(row: Row, column: str) -> list[str | None]:
    cell: list[str | None] = json.loads(row[column])
    return cell


def text(row: Row, column: str) -> str:
    return "\n".join(turn or "" for turn in turns(row, column))


def winner_and_loser(row: Row) -> tuple[str, str]:
    sides = ("response_a", "response_b") if row["winner_model_a"] == "1" else ("response_b", "response_a")
    return text(row, sides[0]), text(row, sides[1])


def decided(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["winner_tie"] == "0"]


def scripts(value: str) -> set[str]:
    """First words of the Unicode names of the letters: LATIN, CJK, ARABIC, ..."""
    return {unicodedata.name(character, "?").split()[0] for character in value if character.isalpha()}


def test_cells_follow_the_competition_schema(rows: list[Row]) -> None:
    for row in rows:
        for column in TEXTS:
            cell = turns(row, column)
            assert cell and all(turn is None or isinstance(turn, str) for turn in cell)
            assert json.dumps(cell) == row[column], "not as json.dumps writes it"
        assert all(turns(row, "prompt")), "a user turn is never empty"
        assert len({len(turns(row, column)) for column in TEXTS}) == 1
        assert sorted(row[column] for column in WINNERS) == ["0", "0", "1"]
        assert row["model_a"] and row["model_b"] and row["model_a"] != row["model_b"]


def test_ids_are_unique_integers_and_some_need_64_bits(rows: list[Row]) -> None:
    ids = [int(row["id"]) for row in rows]
    assert len(set(ids)) == len(ids) >= 290
    assert all(0 < number < 2**63 for number in ids)
    assert sum(number > 2**32 for number in ids) >= 20
    assert any(float(number) != number for number in ids), "no id shows that floats lose digits"


def test_no_battle_is_there_twice(rows: list[Row]) -> None:
    keys = Counter((row["prompt"], *sorted((row["response_a"], row["response_b"]))) for row in rows)
    assert max(keys.values()) == 1


def test_shares_of_the_verdicts(rows: list[Row]) -> None:
    shares = [sum(row[column] == "1" for row in rows) / len(rows) for column in WINNERS]
    assert shares == pytest.approx([0.36, 0.34, 0.30], abs=0.02)


def test_length_does_not_give_the_verdict_away(rows: list[Row]) -> None:
    pairs = [winner_and_loser(row) for row in decided(rows)]
    longer = [len(winner) > len(loser) for winner, loser in pairs if len(winner) != len(loser)]
    assert len(longer) > 150
    assert 0.42 <= sum(longer) / len(longer) <= 0.58
    winners, losers = (sum(map(len, side)) for side in zip(*pairs, strict=True))
    assert 0.8 <= winners / losers <= 1.25


@pytest.mark.parametrize("mark", ["**", "```", "\n- ", "\n1. "])
def test_formatting_does_not_give_the_verdict_away(rows: list[Row], mark: str) -> None:
    marked = [(mark in "\n" + winner, mark in "\n" + loser) for winner, loser in map(winner_and_loser, decided(rows))]
    winner_only, loser_only = marked.count((True, False)), marked.count((False, True))
    assert winner_only + loser_only >= 5, "the mark hardly occurs"
    # A fair coin of that many throws, two-sided at 1 %.
    spread = (winner_only + loser_only) ** 0.5
    assert abs(winner_only - loser_only) <= NormalDist().inv_cdf(0.995) * spread


def test_identical_responses_are_ties(rows: list[Row]) -> None:
    identical = [row for row in rows if row["response_a"] == row["response_b"]]
    assert len(identical) >= 10
    assert all(row["winner_tie"] == "1" for row in identical)


def test_an_empty_response_never_beats_an_answer(rows: list[Row]) -> None:
    assert all(winner.strip() for winner, _ in map(winner_and_loser, decided(rows)))


def test_models_differ_but_none_always_wins(rows: list[Row]) -> None:
    played: Counter[str] = Counter()
    won: Counter[str] = Counter()
    for row in decided(rows):
        played.update((row["model_a"], row["model_b"]))
        won[row["model_a"] if row["winner_model_a"] == "1" else row["model_b"]] += 1
    rates = {model: won[model] / count for model, count in played.items()}
    assert 8 <= len(rates) <= 12
    assert min(played.values()) >= 20
    assert max(rates.values()) - min(rates.values()) > 0.25
    assert all(0.15 < rate < 0.85 for rate in rates.values())


def test_prompts_repeat_so_that_grouping_matters(rows: list[Row]) -> None:
    uses = Counter(row["prompt"] for row in rows)
    assert len(uses) >= 110
    assert sum(count >= 2 for count in uses.values()) >= 30
    assert max(uses.values()) <= 4


def test_languages_turns_and_odd_cases_occur(rows: list[Row]) -> None:
    written = Counter(script for row in rows for script in scripts(text(row, "prompt")))
    assert {"LATIN", "CJK", "HIRAGANA", "HANGUL", "CYRILLIC", "ARABIC", "DEVANAGARI"} <= set(written)
    counts = Counter(len(turns(row, "prompt")) for row in rows)
    assert sum(count for number, count in counts.items() if number > 1) >= 35
    assert max(counts) == 6
    responses = [turn for row in rows for column in TEXTS[1:] for turn in turns(row, column)]
    assert responses.count(None) >= 5 and responses.count("") >= 5
    told = [response or "" for response in responses]
    assert sum("<script>" in response for response in told) >= 2
    assert sum(len(response) > 2000 for response in told) >= 2
    assert any("|---|" in response for response in told)
    assert any("🌮" in response or "🎉" in response for response in told)
