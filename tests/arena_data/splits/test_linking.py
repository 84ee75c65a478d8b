"""No group on both sides of a split, by every link; groups that do not depend on order or machine."""

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena_data.__main__ import main
from arena_data.loading import load_battles
from arena_data.reading.builder import group_of
from arena_data.schema import FEATURES
from arena_data.splits.extra_battles import rows_without_links
from arena_data.splits.folds import deal_folds, grouped_folds, strata_of
from arena_data.splits.linking import JACCARD, LINKS, Links, jaccard, link_battles, near_duplicates, shingles
from arena_data.splits.training_parts import read_training_split

WORDS = [*"abcdefghijklmnopqrs"]


def battles_of(rows: list[dict[str, Any]]) -> datasets.Dataset:
    full = []
    for number, row in enumerate(rows):
        one = dict.fromkeys(FEATURES) | {"id": str(number), "oddities": [], "verdict": np.eye(3)[number % 3].tolist()}
        one |= {"prompt": [f"prompt {number}"], "response_a": [f"a {number}"], "response_b": [f"b {number}"]} | row
        full.append(one | {"group": group_of(one["prompt"])})
    return datasets.Dataset.from_list(full, features=FEATURES)


def linked(rows: list[dict[str, Any]]) -> tuple[list[str], Links]:
    [battles], links = link_battles(battles_of(rows), progress=False)
    return list(battles["group"]), links


def made_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Battles of which each link ties some: prompts with and without a changed word, shared answers, sessions, voters."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = [WORDS[word] for word in np.random.default_rng(int(draw.integers(count // 2))).integers(19, size=30)]
        if draw.random() < 0.3:
            words[-1] = "changed"
        pair = [f"answer {draw.integers(count // 4)}", f"reply {number if draw.random() < 0.8 else 0}"]
        first, second = pair if draw.random() < 0.5 else pair[::-1]
        row: dict[str, Any] = {"prompt": [" ".join(words)], "response_a": [first], "response_b": [second]}
        row["session"] = None if draw.random() < 0.7 else f"s{draw.integers(count)}"
        row["voter"] = None if draw.random() < 0.8 else f"v{draw.integers(count)}"
        rows.append(row)
    return rows


def keys_of(row: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a row shares with those that belong to its group, near-duplicates apart."""
    keys = [
        ("prompt", row["prompt"][0].casefold()),
        ("responses", tuple(sorted([*row["response_a"], *row["response_b"]]))),
    ]
    return keys + [(name, row[name]) for name in ("session", "voter") if row[name] is not None]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_no_link_joins_two_folds(seed: int, folds: int) -> None:
    rows = made_rows(60, seed)
    [battles], links = link_battles(battles_of(rows), progress=False)
    part, _ = deal_folds(list(battles["group"]), np.asarray(battles["verdict"]), folds=folds)
    parts_of_key: dict[tuple[str, Any], set[int]] = defaultdict(set)
    for row, fold in zip(rows, part.tolist(), strict=True):
        for key in keys_of(row):
            if key[0] not in links.left_out:
                parts_of_key[key].add(fold)
    assert max(map(len, parts_of_key.values())) == 1
    for one, other in itertools.combinations(range(len(rows)), 2):
        texts = [shingles(rows[place]["prompt"][0]) for place in (one, other)]
        assert part[one] == part[other] or jaccard(*texts) < JACCARD


@pytest.mark.parametrize(
    ("link", "pair"),
    [
        ("prompt", [{"prompt": ["Same"]}, {"prompt": [" same\n"]}]),
        ("near_prompt", [{"prompt": [" ".join(WORDS)]}, {"prompt": [" ".join([*WORDS, "again!"])]}]),
        ("near_prompt", [{"prompt": ["Hello"]}, {"prompt": ["hello!!"]}]),
        ("responses", [{"response_a": ["x"], "response_b": ["y"]}, {"response_a": ["y"], "response_b": ["x"]}]),
        ("session", [{"session": "s"}, {"session": "s"}]),
        ("voter", [{"voter": "v"}, {"voter": "v"}]),
    ],
)
def test_each_link_is_counted_under_its_name(link: str, pair: list[dict[str, Any]]) -> None:
    groups, links = linked([*pair, {}, {}, {}])
    assert groups[0] == groups[1] and len(set(groups)) == 4
    assert {name for name, count in links.moved.items() if count} == {link}
    assert (links.moved[link], links.largest, links.groups, links.battles) == (1, 2, 4, 5)
    assert f"1 {LINKS[link]}" in str(links) and "the largest of 2" in str(links)


@pytest.mark.parametrize(
    "pair",
    [
        [{"response_a": [""], "response_b": [" "]}, {"response_a": [""], "response_b": [" "]}],
        [{"response_a": ["x"], "response_b": ["y"]}, {"response_a": ["x"], "response_b": ["z"]}],
        [{"prompt": ["What is 2 + 2?"]}, {"prompt": ["What is 3 + 4?"]}],
        [{"session": None}, {"session": None}],
        [{"session": "same"}, {"voter": "same"}],
    ],
)
def test_what_is_no_link(pair: list[dict[str, Any]]) -> None:
    assert len(set(linked([*pair, {}])[0])) == 3


def test_links_form_chains_and_names_are_those_of_the_smallest_prompt() -> None:
    rows: list[dict[str, Any]] = [{"voter": "v"}, {"voter": "v", "session": "s"}, {"session": "s"}, {}, {}, {}]
    groups, links = linked(rows)
    prompts = [group_of([f"prompt {number}"]) for number in range(6)]
    assert groups == [min(prompts[:3])] * 3 + prompts[3:]
    assert links.moved["session"] == links.moved["voter"] == 1


def test_a_link_that_leaves_no_folds_is_left_out_and_said() -> None:
    groups, links = linked([{"voter": "one judge of all", "session": f"s{number // 2}"} for number in range(10)])
    assert links.left_out == {"voter": 10} and "voter" not in links.moved
    assert links.groups == len(set(groups)) == 5 and links.largest == 2
    assert "not linked by voter, which would tie 10 together" in str(links)
    # Equal prompts are kept together whatever comes of it.
    assert set(linked([{"prompt": ["hi"]}] * 5)[0]) == {group_of(["hi"])}


def test_the_order_of_rows_changes_no_group() -> None:
    battles = battles_of(made_rows(120, 5))
    [one], links = link_battles(battles, progress=False)
    order = np.random.default_rng(0).permutation(len(battles))
    [other], same = link_battles(battles.select(order), progress=False)
    assert [one["group"][int(row)] for row in order] == list(other["group"])
    assert same == links and all(links.moved.values())
    assert (grouped_folds(other, 3, seed=4) == grouped_folds(one, 3, seed=4)[order]).all()


def test_linking_twice_is_linking_once_and_battles_without_links_keep_their_groups() -> None:
    battles = battles_of(made_rows(80, 6))
    [once], _ = link_battles(battles, progress=False)
    [twice], _ = link_battles(once, progress=False)
    assert list(twice["group"]) == list(once["group"]) and once.features == battles.features
    alone = battles_of([{} for _ in range(9)])
    assert link_battles(alone, progress=False)[0][0] is alone
    assert list(link_battles(alone.select([]), progress=False)[0][0]["group"]) == []


def test_hashes_are_the_same_on_every_machine() -> None:
    assert shingles("The quick brown fox, jumps").tolist() == sorted(
        set(shingles("the QUICK brown fox jumps").tolist())
    )
    assert shingles("The quick brown fox").tolist() == FOX
    assert near_duplicates(["a b c d e f g h i j k l", "z", "a b c d e f g h i j k l m", ""]) == [(0, 2)]


FOX = [51805151, 2602475064]


def test_parts_of_one_dealing_have_common_groups(tmp_path: Path) -> None:
    """A training file's battle goes where the held-out file's linked one is: nowhere."""
    rows = [
        {
            "prompt": [f"question {n}"],
            "response_a": [f"a{n}"],
            "response_b": [f"b{n}"],
            "winner": "tie",
            "judge": f"j{n}",
        }
        for n in range(40)
    ]
    held_out = [row | {"prompt": [f"other {n}"], "response_a": [f"c{n}"]} for n, row in enumerate(rows[:4])]
    paths = []
    for name, part in (("train", rows), ("test", held_out)):
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in part))
    parts = read_training_split([str(paths[0])], [str(paths[1])])
    voters = {name: set(part["voter"]) for name, part in parts.items()}
    assert voters["validation"] == {"j0", "j1", "j2", "j3"}
    assert not voters["validation"] & (voters["train"] | voters["calibration"])
    assert parts.links.moved["voter"] == 4 and parts.links.to_json()["dealer_version"] == 2
    whole = load_battles(str(paths[0]))
    kept = rows_without_links(whole, parts["validation"])
    assert set(whole.select(kept)["voter"]) == voters["train"] | voters["calibration"]


def test_a_dropped_duplicates_voter_still_links(tmp_path: Path) -> None:
    """Two people voted on one battle; the second one's other battle must not be held out beside it."""
    same = {"prompt": ["p"], "response_a": ["a"], "response_b": ["b"], "winner": "tie"}
    rows = [same | {"judge": "first"}, same | {"judge": "second"}, same | {"prompt": ["q"], "response_a": ["c"]}]
    rows[2]["judge"] = "second"
    rows += [same | {"prompt": [f"q{n}"], "response_a": [f"c{n}"], "judge": f"j{n}"} for n in range(20)]
    path = tmp_path / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    parts = read_training_split([str(path)])
    groups = {row["prompt"][0]: row["group"] for part in parts.values() for row in part}
    assert groups["p"] == groups["q"] and len(set(groups.values())) == 21


def test_explore_says_links_and_writes_what_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"prompt": f"p{n}", "response_a": f"a{n}", "response_b": f"b{n}", "winner": "both_bad" if n % 3 else "model_a"}
        | {"judge": f"voter {n // 2}", "evaluation_session_id": f"s{n}"}
        for n in range(20)
    ]
    path = tmp_path / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([str(path), "--split", str(tmp_path), "--json"]) == 0
    said = capsys.readouterr()
    assert "20 battles in 10 groups, the largest of 2; battles linked: 10 by voter" in said.err
    assert json.loads(said.out)["links"]["moved"]["voter"] == 10
    back = [row for name in ("train", "test") for row in load_battles(str(tmp_path / f"{name}.jsonl"))]
    whole = {row["id"]: row for row in load_battles(str(path))}
    for row in back:
        for name in ("session", "voter", "both_bad", "verdict", "group"):
            assert row[name] == whole[row["id"]][name]
    assert strata_of(load_battles(str(path))).tolist() == [0 if n % 3 == 0 else 2 for n in range(20)]
