"""Batches of a token budget: every battle once an epoch, equal work on the ranks, the budget kept, little padding.

Also the collator, which makes tensors of such a batch.
"""

from itertools import chain, combinations_with_replacement, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from arena_data.loading import load_battles
from reward_model.tokens.collator import BattleCollator, token_counts
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import ENCODINGS, Encoding
from reward_model.tokens.layout import LEAST_SHARED
from reward_model.tokens.token_budget import GROUPS, TokenBudgetSampler, pack, padded_tokens, padding_share, split_rows
from reward_model.tokens.tokenizer import prepare_tokenizer

ROOT = Path(__file__).parents[3]
ARENA = ROOT.parent / "shared" / "data" / "arena"
MINILM = ROOT / "models" / "minilm"
BUDGET = 512


@pytest.fixture
def lengths() -> np.ndarray:
    """Tokens of 400 battles, with a long tail as real ones have."""
    random = np.random.default_rng(0)
    return np.clip(random.lognormal(3.5, 1.0, size=(400, 2)), 3, 250).astype(np.int64)


def brute_force(lengths: list[int]) -> int:
    ordered = sorted(lengths)
    costs = []
    for cuts in combinations_with_replacement(range(len(ordered) + 1), GROUPS - 1):
        ends = [0, *cuts, len(ordered)]
        runs = [ordered[start:end] for start, end in pairwise(ends)]
        costs.append(sum(len(run) * run[-1] for run in runs if run))
    return min(costs)


@pytest.mark.parametrize("seed", range(30))
def test_rows_are_split_at_the_least_cost(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(1, 40, size=random.integers(1, 10))
    groups = split_rows(rows)
    assert len(groups) == GROUPS
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(rows)))
    assert sum(len(group) * int(rows[group].max(initial=0)) for group in groups) == brute_force(rows.tolist())


def test_few_rows_leave_groups_empty() -> None:
    assert sum(len(group) > 0 for group in split_rows(np.array([7, 3]))) == 2
    assert padded_tokens(np.array([[7, 3]])) == 10


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_battle_once_an_epoch_and_equal_work_on_the_ranks(
    lengths: np.ndarray, world_size: int, shuffle: bool
) -> None:
    samplers = [
        TokenBudgetSampler(lengths, BUDGET, rank=rank, world_size=world_size, shuffle=shuffle)
        for rank in range(world_size)
    ]
    for epoch in range(4):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        dealt = [list(sampler) for sampler in samplers]
        seen = [index for batches in dealt for batch in batches for index in batch]
        assert sorted(seen) == list(range(len(lengths)))
        assert all(len(batches) == len(samplers[0]) for batches in dealt)
        assert all(batch and padded_tokens(lengths[batch]) <= BUDGET for batches in dealt for batch in batches)


def test_ranks_of_a_step_get_batches_of_like_cost(lengths: np.ndarray) -> None:
    batches = TokenBudgetSampler(lengths, BUDGET, world_size=2).batches()
    cost = np.array([padded_tokens(lengths[batch]) for batch in batches]).reshape(-1, 2)
    random = np.random.default_rng(0).permutation(cost.reshape(-1)).reshape(-1, 2)
    assert np.abs(np.diff(cost)).mean() < 0.2 * np.abs(np.diff(random)).mean()


def test_every_epoch_has_as_many_batches() -> None:
    """Transformers counts the steps of the first epoch for all of them."""
    random = np.random.default_rng(1)
    for _ in range(3):
        lengths = np.clip(random.lognormal(3.5, 1.0, size=(1500, 2)), 3, 250).astype(np.int64)
        sampler = TokenBudgetSampler(lengths, BUDGET)
        counts: set[int] = set()
        seen: set[tuple[int, ...]] = set()
        for epoch in range(6):
            sampler.set_epoch(epoch)
            counts.add(len(list(sampler)))
            seen.add(tuple(sorted(index for batch in sampler for index in batch)))
        assert len(counts) == 1
        assert seen == {tuple(range(len(lengths)))}


def test_the_order_is_that_of_the_seed_and_the_epoch(lengths: np.ndarray) -> None:
    def drawn(seed: int, epoch: int) -> list[list[int]]:
        sampler = TokenBudgetSampler(lengths, BUDGET, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 0) != drawn(0, 1)
    assert drawn(0, 0) != drawn(1, 0)
    # Other battles share a batch, too, not only another order of the same batches.
    assert {frozenset(batch) for batch in drawn(0, 0)} != {frozenset(batch) for batch in drawn(0, 1)}


def test_evaluation_starts_with_the_longest_and_is_the_same_in_every_epoch(lengths: np.ndarray) -> None:
    sampler = TokenBudgetSampler(lengths, BUDGET, shuffle=False)
    before = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == before
    cost = [padded_tokens(lengths[batch]) for batch in before]
    assert cost == sorted(cost, reverse=True)


def test_a_battle_over_the_budget_is_an_error() -> None:
    lengths = np.array([[10, 10], [60, 41]])
    assert list(TokenBudgetSampler(lengths, 101))
    with pytest.raises(ValueError, match=r"batch_tokens is 100.*101 tokens"):
        TokenBudgetSampler(lengths, 100)


def test_what_cannot_be_dealt_evenly_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 battles cannot be dealt to 3"):
        TokenBudgetSampler(np.full((2, 2), 5), 100, world_size=3)
    with pytest.raises(ValueError, match="raise batch_tokens"):
        TokenBudgetSampler(np.full((5, 2), 50), 100, world_size=2).batches()
    assert [len(batch) for batch in TokenBudgetSampler(np.full((4, 2), 50), 100, world_size=2)] == [1, 1]


def test_packing_nothing_gives_nothing() -> None:
    assert pack(np.array([], dtype=np.int64), np.zeros((0, 2), dtype=np.int64), 10) == []


@pytest.mark.skipif(not (ARENA.exists() and MINILM.exists()), reason="needs ../shared/data and models/minilm")
def test_real_battles_are_padded_by_less_than_five_percent() -> None:
    battles: Any = load_battles(str(ARENA / "train.csv"))
    tokenizer = prepare_tokenizer(AutoTokenizer.from_pretrained(MINILM))
    rows = BattleEncoder(tokenizer, 512)(battles)
    lengths = np.array([[len(a), len(b)] for a, b in zip(rows["input_ids_a"], rows["input_ids_b"], strict=True)])
    batches = list(TokenBudgetSampler(lengths, 8192))
    # Reckoned here and not by `padding_share`, from what the collator really makes.
    collate = BattleCollator(0)
    padded = 0
    for batch in batches:
        made = collate(
            [
                {"input_ids_a": [1] * int(lengths[i, 0]), "input_ids_b": [1] * int(lengths[i, 1]), "index": i}
                for i in batch
            ]
        )
        padded += sum(group["input_ids"].numel() for group in made["groups"])
    share = 1 - lengths.sum() / padded
    assert share < 0.05
    assert share == pytest.approx(padding_share(batches, lengths), abs=1e-3)


def battle_rows(sizes: list[tuple[int, int]], **columns: Any) -> list[dict[str, Any]]:
    """Row i's side A reads 10 i + 1, 10 i + 1, ... and its side B 10 i + 2, ..."""
    return [
        {"index": 40 + i, "input_ids_a": [10 * i + 1] * a, "input_ids_b": [10 * i + 2] * b}
        | {name: values[i] for name, values in columns.items()}
        for i, (a, b) in enumerate(sizes)
    ]


def test_the_groups_hold_every_row_once_under_its_number() -> None:
    sizes = [(3, 9), (20, 4), (7, 7), (1, 30), (12, 2)]
    batch = BattleCollator(pad_token_id=99)(battle_rows(sizes))
    assert len(batch["groups"]) == GROUPS
    found: dict[int, list[int]] = {}
    for group in batch["groups"]:
        assert group["input_ids"].shape == group["attention_mask"].shape
        for ids, mask, row in zip(group["input_ids"], group["attention_mask"], group["row"].tolist(), strict=True):
            assert row not in found
            found[row] = ids[mask.bool()].tolist()
            assert (ids[~mask.bool()] == 99).all()
    rows = battle_rows(sizes)
    wanted = [row["input_ids_a"] for row in rows] + [row["input_ids_b"] for row in rows]
    assert found == dict(enumerate(wanted))
    assert batch["index"].tolist() == [40, 41, 42, 43, 44]
    real, padded = token_counts(batch)
    assert real == sum(map(sum, sizes)) and padded == padded_tokens(np.array(sizes))


def test_a_single_battle_gets_stand_in_groups() -> None:
    batch = BattleCollator(pad_token_id=0)(battle_rows([(5, 8)]))
    rows = [group["row"].tolist() for group in batch["groups"]]
    assert len(rows) == GROUPS and sorted(chain(*rows)) == [-1, -1, 0, 1]
    for group in batch["groups"]:
        assert group["attention_mask"].sum(dim=1).min() >= 1
        if group["row"].tolist() == [-1]:
            assert group["input_ids"].shape == (1, 1)
    assert token_counts(batch) == (13, 15)


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
def test_labels_teacher_and_style_go_with_their_rows(encoding: Encoding) -> None:
    style_a, style_b, pair = [[1.0, 2.0], [3.0, 4.0]], [[5.0, 5.0], [6.0, 8.0]], [[1.0, 0.0, 2.0], [3.0, 1.0, 4.0]]
    nothing = [float("nan")] * 3
    rows = battle_rows(
        [(2, 3), (4, 5)],
        labels=[[1, 0, 0], [0, 0.5, 0.5]],
        teacher=[[0.2, 0.3, 0.5], nothing],
        style_a=style_a,
        style_b=style_b,
        pair=pair,
    )
    batch = BattleCollator(0, encoding)(rows)
    assert batch["labels"].tolist() == [[1, 0, 0], [0, 0.5, 0.5]]
    assert torch.isnan(batch["teacher"][1]).all() and torch.isfinite(batch["teacher"][0]).all()
    a, b = torch.tensor(style_a), torch.tensor(style_b)
    torch.testing.assert_close(batch["style"], torch.cat([a - b, b - a] if encoding.name == "joint" else [a, b]))
    torch.testing.assert_close(batch["pair"], torch.tensor(pair + pair))
    assert {batch[name].dtype for name in ("labels", "teacher", "style", "pair")} == {torch.float32}


@pytest.mark.parametrize("shares", [False, True])
def test_rows_read_end_to_end_hold_every_token_once(shares: bool) -> None:
    prompt = list(range(100, 100 + LEAST_SHARED))
    rows = [
        {"index": i, "input_ids_a": [*prompt, i, *[1] * i], "input_ids_b": [*prompt, 50 + i, 2]} for i in range(1, 4)
    ]
    batch = BattleCollator(0, padding_free=True, shares=shares)(rows)
    (group,) = batch["groups"]
    ids, positions = group["input_ids"][0].tolist(), group["position_ids"][0].tolist()
    wanted = [row["input_ids_a"] for row in rows] + [row["input_ids_b"] for row in rows]
    for piece, row in zip(group["pieces"], group["row"].tolist(), strict=True):
        before = slice(piece.shared_start, piece.shared_start + piece.shared)
        own = slice(piece.start, piece.end)
        assert ids[before] + ids[own] == wanted[row]
        assert positions[before] + positions[own] == list(range(len(wanted[row])))
    # All six begin with one prompt, which is read once.
    saved = 5 * len(prompt) if shares else 0
    assert len(ids) == sum(map(len, wanted)) - saved
    assert token_counts(batch) == (sum(map(len, wanted)),) * 2
