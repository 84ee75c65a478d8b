"""Splits by prompt: no prompt on both sides, fair shares of each verdict, the same on every machine, in any order."""

from collections import Counter
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena_data.reading.builder import group_of
from arena_data.schema import FEATURES
from arena_data.splits.folds import deal, deal_folds, drop_duplicates, grouped_folds, grouped_split, strata_of

A, B, TIE = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def battles_from(rows: list[tuple[str, str, str, list[float] | None]]) -> datasets.Dataset:
    full: list[dict[str, Any]] = [
        {name: None for name in FEATURES}
        | {"id": str(i), "prompt": [p], "response_a": [a], "response_b": [b], "verdict": v, "oddities": []}
        | {"group": group_of([p])}
        for i, (p, a, b, v) in enumerate(rows)
    ]
    return datasets.Dataset.from_list(full, features=FEATURES)


@pytest.fixture(scope="module")
def many() -> datasets.Dataset:
    """600 battles of 450 prompts, a fifth of them unlabelled."""
    draw = np.random.default_rng(3)
    verdicts = [A, B, TIE, A, None]
    return battles_from(
        [(f"Prompt {int(n**0.5 * 18)}", f"a{n}", f"b{n}", verdicts[draw.integers(5)]) for n in range(600)]
    )


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_share_no_prompt_and_hold_fair_shares_of_each_verdict(many: datasets.Dataset, folds: int) -> None:
    fold, strata = grouped_folds(many, folds), strata_of(many)
    parts_of_group: dict[str, set[int]] = {}
    for group, part in zip(many["group"], fold.tolist(), strict=True):
        parts_of_group.setdefault(group, set()).add(part)
    assert max(map(len, parts_of_group.values())) == 1
    assert set(fold.tolist()) == set(range(folds))
    for stratum in range(4):
        counts = np.bincount(fold[strata == stratum], minlength=folds)
        assert np.abs(counts - counts.mean()).max() <= 3, (stratum, counts)


def test_splits_have_their_shares_and_every_row_once(many: datasets.Dataset) -> None:
    parts = grouped_split(many, {"train": 0.8, "validation": 0.1, "calibration": 0.1})
    assert list(parts) == ["train", "validation", "calibration"]
    assert [len(part) for part in parts.values()] == [pytest.approx(n, abs=3) for n in (480, 60, 60)]
    ids = [i for part in parts.values() for i in part["id"]]
    assert sorted(ids) == sorted(many["id"])
    for part in parts.values():
        assert list(part["id"]) == sorted(part["id"], key=int)
    groups = [set(part["group"]) for part in parts.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]


def test_the_order_of_rows_changes_nothing_and_the_seed_everything(many: datasets.Dataset) -> None:
    order = np.random.default_rng(0).permutation(len(many))
    fold = grouped_folds(many, 5, seed=1)
    assert (grouped_folds(many.select(order), 5, seed=1) == fold[order]).all()
    assert (grouped_folds(many, 5, seed=1) == fold).all()
    assert (grouped_folds(many, 5, seed=2) != fold).mean() > 0.5


def test_the_assignment_is_the_same_on_every_machine() -> None:
    groups = [group_of([text]) for text in ("one", "two", "three", "four", "five", "six", "one", "two")]
    assert groups[:2] == ["911faba7321fe1a0", "6c0560bdcb29998b"]
    assert deal(groups, [0, 1, 2, 0, 1, 2, 1, 0], [1, 1, 1], seed=42).tolist() == [1, 0, 2, 2, 2, 0, 1, 0]


def test_groups_are_equal_up_to_case_and_white_space() -> None:
    assert group_of([" Straße\n"]) == group_of(["STRASSE"]) != group_of(["Strase"])
    assert group_of(["a", "b"]) != group_of(["ab"]) and group_of(["a", "b"]) != group_of(["a"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 3)), max_size=60), st.integers(1, 4), st.integers(0, 9))
def test_deal_never_divides_a_group(rows: list[tuple[int, int]], parts: int, seed: int) -> None:
    groups, strata = [str(g) for g, _ in rows], [s for _, s in rows]
    part = deal(groups, strata, [1.0] * parts, seed)
    assert len(part) == len(rows) and ((part >= 0) & (part < parts)).all()
    assert len({(g, p) for g, p in zip(groups, part.tolist(), strict=True)}) == len(set(groups))


@pytest.mark.parametrize("shares", [[], [0.0, 1.0], [-1.0, 2.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_bad_shares_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="shares must be positive"):
        deal(["a", "b"], [0, 0], shares)


@pytest.mark.parametrize("folds", [0, 1, 4, -1])
def test_bad_numbers_of_folds_are_refused(folds: int) -> None:
    three = battles_from([(p, "x", "y", A) for p in "abc"])
    with pytest.raises(ValueError, match="folds need"):
        grouped_folds(three, folds)
    assert sorted(grouped_folds(three, 3).tolist()) == [0, 1, 2]


def test_folds_of_fewer_prompts_than_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="the 1 groups"):
        grouped_folds(battles_from([("a", "x", "y", A)] * 5), 2)


def test_unlabelled_battles_are_dealt_evenly() -> None:
    fold = grouped_folds(battles_from([(f"{n}", "x", "y", None) for n in range(20)]), 4)
    assert Counter(fold.tolist()) == {0: 5, 1: 5, 2: 5, 3: 5}


def test_duplicates_are_kept_once_with_the_mean_of_their_verdicts() -> None:
    battles = battles_from(
        [
            ("p", "good", "bad", A),
            ("p", "other", "bad", B),
            ("p", "bad", "good", B),  # The first with its sides exchanged: B is A's text, so both voted for "good".
            ("p", "good", "bad", TIE),
            ("p", "good", "bad", None),
            ("q", "good", "bad", None),
            ("q", "bad", "good", A),
            ("r", "good", "bad", None),
            ("r", "bad", "good", None),
        ]
    )
    unique, left_out = drop_duplicates(battles)
    assert left_out == 5 and unique.features == battles.features
    assert list(unique["id"]) == ["0", "1", "5", "7"]
    assert unique["response_a"] == [["good"], ["other"], ["good"], ["good"]]
    two_thirds = pytest.approx([2 / 3, 0, 1 / 3])
    assert unique["verdict"] == [two_thirds, B, B, None]  # For "bad", which is B in the row that was kept.
    again, none = drop_duplicates(unique)
    assert none == 0 and again["id"] == unique["id"]


def with_teachers(battles: datasets.Dataset, teachers: list[list[float] | None]) -> datasets.Dataset:
    """The battles, each beside its teacher; one without a verdict takes the teacher's, as loading does."""
    rows = [
        row | {"teacher": teacher, "verdict": row["verdict"] if row["verdict"] is not None else teacher}
        for row, teacher in zip(battles, teachers, strict=True)
    ]
    return datasets.Dataset.from_list(rows, features=battles.features)


@pytest.mark.parametrize("pseudo_first", [False, True])
def test_a_vote_is_not_averaged_with_a_pseudo_label(pseudo_first: bool) -> None:
    rows = [("p", "good", "bad", A), ("p", "bad", "good", None), ("p", "good", "bad", TIE)]
    teachers: list[list[float] | None] = [None, [0.1, 0.7, 0.2], None]
    order = [1, 0, 2] if pseudo_first else [0, 1, 2]
    battles = with_teachers(battles_from([rows[i] for i in order]), [teachers[i] for i in order])
    unique, left_out = drop_duplicates(battles)
    assert left_out == 2
    assert unique["verdict"] == [[0.0, 0.5, 0.5] if pseudo_first else [0.5, 0.0, 0.5]]
    teacher = [0.1, 0.7, 0.2] if pseudo_first else [0.7, 0.1, 0.2]
    assert unique["teacher"] == [pytest.approx(teacher)]


def test_teachers_of_duplicates_are_averaged_and_a_pseudo_label_stays_one() -> None:
    battles = battles_from(
        [
            ("voted", "a", "b", None),
            ("voted", "b", "a", B),
            ("judged", "a", "b", None),
            ("judged", "b", "a", None),
            ("alone", "a", "b", A),
        ]
    )
    taught = with_teachers(battles, [[0.6, 0.1, 0.3], [0.3, 0.2, 0.5], [0.6, 0.1, 0.3], [0.3, 0.2, 0.5], None])
    unique, _ = drop_duplicates(taught)
    mean = [0.4, 0.2, 0.4]
    assert unique["teacher"] == [pytest.approx(mean), pytest.approx(mean), None]
    assert unique["verdict"] == [A, unique["teacher"][1], A]
    later = datasets.concatenate_datasets([unique, battles_from([("judged", "b", "a", B)])])
    again, left_out = drop_duplicates(later)
    assert left_out == 1 and again["verdict"] == [A, A, A]


def test_a_vote_counts_though_a_teacher_is_as_certain() -> None:
    battles = with_teachers(battles_from([("p", "a", "b", A), ("p", "a", "b", B)]), [A, None])
    assert drop_duplicates(battles)[0]["verdict"] == [[0.5, 0.5, 0.0]]


def test_identical_responses_and_no_battles_are_no_trouble() -> None:
    unique, left_out = drop_duplicates(battles_from([("p", "same", "same", A), ("p", "same", "same", B)]))
    assert left_out == 1 and unique["verdict"] == [[0.5, 0.5, 0.0]]
    empty = battles_from([("p", "a", "b", A)]).select([])
    assert drop_duplicates(empty)[1] == 0
    assert [len(part) for part in grouped_split(empty, {"train": 0.9, "test": 0.1}).values()] == [0, 0]


@pytest.mark.parametrize(("prompts", "folds", "dealt"), [(40, 5, 5), (3, 5, 3), (1, 5, 1), (40, 2, 2)])
def test_folds_are_dealt_to_prompts_and_are_fewer_where_prompts_are_few(prompts: int, folds: int, dealt: int) -> None:
    groups = [f"prompt {row % prompts}" for row in range(120)]
    verdicts = np.eye(3)[np.random.default_rng(0).integers(3, size=120)]
    part, count = deal_folds(groups, verdicts, folds=folds)
    assert count == dealt and sorted(set(part.tolist())) == list(range(dealt))
    assert all(len(set(part[row::prompts].tolist())) == 1 for row in range(prompts))
    assert np.ptp(np.bincount(part)) <= 120 // prompts * 2
