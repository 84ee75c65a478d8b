"""Reading sequences end to end: the scores of each by itself, prompts read once, and models that cannot be read so."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from reward_model.model.packed import reader as packed
from reward_model.model.packed.check import packed_reader
from reward_model.model.packed.piece_attention import attention
from reward_model.model.packed.reader import PackedReader
from reward_model.model.score_layer import find_score_layer
from reward_model.tokens.layout import LEAST_SHARED, Pack, Piece, lengths_packed, shared_tokens
from reward_model.tokens.token_budget import packs
from tests.reward_model.model.test_every_architecture import ARCHITECTURES, padded, scores, tie_aware

MAX_LENGTH = 64
# Their attention is their own.
PADDED_ONLY = {"deberta_v3", "mpnet"}


def drawn(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(3, 60, (length,), generator=generator).tolist() for length in lengths]


def by_itself(model: nn.Module, rows: list[list[int]]) -> torch.Tensor:
    return torch.cat([scores(model, padded([torch.tensor(row)])) for row in rows])


def reader_of(model: Any) -> PackedReader | None:
    return packed_reader(model.eval(), MAX_LENGTH)


def reader_before_training(model: Any) -> PackedReader | None:
    """A score layer of zeros gives every row the same score, rightly read or not."""
    model = copy.deepcopy(model)
    weights = [find_score_layer(model).weight, find_score_layer(model).tie.weight]
    for weight in weights:
        torch.nn.init.zeros_(weight)
    found = reader_of(model)
    assert not any(weight.any() for weight in weights)
    return found


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_packed_scores_are_those_of_each_row_by_itself(name: str, lora: bool) -> None:
    model = tie_aware(name, lora)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)  # initial weights hardly tell positions apart
    prompt, *rest = drawn(20, 7, 30, 1, 12, 5)
    rows = [rest[0], *(prompt + row for row in rest[1:4]), rest[4], prompt[:18] + rest[4]]
    before, expected = model.config._attn_implementation, by_itself(model.eval(), rows)
    reader = reader_of(model)
    assert (reader is None) == (name in PADDED_ONLY)
    assert (reader_before_training(model) is None) == (name in PADDED_ONLY)
    assert model.config._attn_implementation == before
    # Trying leaves nothing behind: hooks that stayed on MPNet broke its training.
    torch.testing.assert_close(by_itself(model, rows), expected, rtol=0, atol=0)
    if reader is None:
        return
    assert expected.std(dim=0).min() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(reader.scores(rows), expected, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(reader.scores(rows[::-1]).flip(0), expected, atol=2e-5, rtol=1e-4)


def test_a_shared_prompt_goes_through_the_layers_once() -> None:
    model = tie_aware("llama3", lora=False)
    reader = reader_of(model)
    assert reader is not None
    tokens: list[int] = []
    model.model.layers[0].mlp.register_forward_hook(lambda _m, inputs, _o: tokens.append(inputs[0].shape[1]))
    prompt, *rest = drawn(20, 7, 9, 30)
    rows = [prompt + rest[0], prompt + rest[1], rest[2]]
    with torch.no_grad():
        reader.scores(rows)
    assert tokens == [20 + 7 + 9 + 30]
    assert lengths_packed(rows, shares=True) == [27, 9, 30]
    assert lengths_packed(rows, shares=False) == [27, 29, 30]


def test_how_much_is_shared() -> None:
    one = list(range(100))
    assert shared_tokens(one, [*one[:40], 7, 7]) == 40
    assert shared_tokens(one, one) == 99  # each keeps a token of its own, to be pooled
    assert shared_tokens(one[:50], one) == 49
    assert shared_tokens(one, [*one[: LEAST_SHARED - 1], 7]) == 0
    assert shared_tokens([], one) == 0


def test_packs_keep_to_the_budget() -> None:
    assert packs([5, 5, 5, 20, 1, 2], 10) == [[0, 1], [2], [3], [4, 5]]
    assert packs([], 10) == []


def test_a_model_that_looks_across_sequences_is_read_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one whose layers keep a state from token to token: here, attention over the whole row."""
    model = tie_aware("llama3", lora=False)
    assert reader_of(model) is not None

    def across(pack: Any, query: Any, key: Any, value: Any, options: Any) -> Any:
        return attention(Pack([Piece(0, 0, 0, query.shape[2])]), query, key, value, options)

    monkeypatch.setattr(packed, "attention", across)
    assert reader_of(model) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["deberta_v3", "mpnet"])
def test_a_model_whose_attention_is_never_called_is_read_padded(name: str, dtype: torch.dtype) -> None:
    """However alike its scores may be: in half precision a tiny DeBERTa's were."""
    model = tie_aware(name, lora=False).to(dtype).eval()
    reader = PackedReader(model)
    rows = drawn(12, 30)
    with torch.no_grad():
        assert reader.attended(rows)[1] == []
    assert reader_of(model) is None


def test_every_layer_must_attend_once() -> None:
    model = tie_aware("llama3", lora=False).eval()
    assert reader_of(model) is not None
    model.config.num_hidden_layers += 1
    assert reader_of(model) is None
