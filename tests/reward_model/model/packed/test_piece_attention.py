"""Attention a piece at a time, in blocks and in one call: each is attention over the keys that a token may read."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from reward_model.model.packed import piece_attention, varlen_attention
from reward_model.model.packed.piece_attention import AttentionOptions, attention, first_tokens
from reward_model.tokens.layout import Pack, Piece, lay_out

SIZE, HEADS, KEY_HEADS = 8, 6, 2


def pack_of(shares: bool) -> Pack:
    random = torch.Generator().manual_seed(0)
    texts = [torch.randint(9, (n,), generator=random).tolist() for n in (20, 3, 30, 11, 40, 1)]
    rows = [texts[4], *(texts[0] + text for text in texts[1:4]), texts[0][:18] + texts[5], texts[3]]
    pack = Pack(lay_out(rows, shares)["pieces"])
    assert any(piece.shared for piece in pack.pieces) == shares
    return pack


def states_of(pack: Pack, requires_grad: bool = True) -> list[Tensor]:
    torch.manual_seed(1)
    tokens = pack.pieces[-1].end
    return [torch.randn(1, heads, tokens, SIZE, requires_grad=requires_grad) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]


def one_by_one(pack: Pack, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions) -> Tensor:
    """The definition: each piece's tokens over its keys, every pair's score by itself."""
    states = []
    for piece in pack.pieces:
        places = [*range(piece.shared_start, piece.shared_start + piece.shared), *range(piece.start, piece.end)]
        keys, values = (t[:, :, places].repeat_interleave(HEADS // KEY_HEADS, dim=1) for t in (key, value))
        scores = query[:, :, piece.start : piece.end] @ keys.transpose(-1, -2)
        scores = scores * (options.scaling or SIZE**-0.5)
        if options.softcap:
            scores = options.softcap * torch.tanh(scores / options.softcap)
        ahead = torch.arange(len(places)) - torch.arange(piece.shared, len(places))[:, None]
        hidden = (ahead > 0) & options.causal
        if options.window:
            hidden = hidden | (ahead.abs() >= options.window)
        states.append(scores.masked_fill(hidden, float("-inf")).softmax(-1) @ values)
    return torch.cat(states, dim=2).transpose(1, 2)


def assert_same(pack: Pack, options: AttentionOptions, tensors: list[Tensor]) -> None:
    weights = torch.randn(1, pack.pieces[-1].end, HEADS, SIZE, generator=torch.Generator().manual_seed(2))
    results = []
    for compute in (attention, one_by_one):
        states = compute(pack, *tensors, options)
        results.append([states, *torch.autograd.grad((states * weights).sum(), tensors)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


OPTIONS = [
    AttentionOptions(causal=causal, window=window, softcap=softcap, scaling=0.4)
    for causal in (True, False)
    for window in (None, 1, 7, 500)
    for softcap in (None, 0.8)
]


@pytest.mark.parametrize("block", [512, 5])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_pieces_read_what_they_may(options: AttentionOptions, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_attention, "BLOCK", block)
    pack = pack_of(shares=options.causal)
    assert_same(pack, options, states_of(pack))


def test_a_short_answer_to_a_long_prompt_is_computed_by_a_mask() -> None:
    pack = Pack([Piece(0, 0, 0, 50), Piece(0, 40, 50, 60)])
    assert_same(pack, AttentionOptions(causal=True), states_of(pack))


def test_only_first_tokens() -> None:
    pack, options = pack_of(shares=False), AttentionOptions(causal=False)
    tensors = states_of(pack)
    everything, only_first = attention(pack, *tensors, options), first_tokens(pack, *tensors, options)
    starts = [piece.start for piece in pack.pieces]
    torch.testing.assert_close(only_first[:, starts], everything[:, starts])
    assert only_first.count_nonzero() == len(starts) * HEADS * SIZE


def stand_in(release: str) -> Any:
    """`varlen_attn` in plain PyTorch, with the arguments of a release."""

    def compute(q: Tensor, k: Tensor, v: Tensor, ends: Any, lengths: Any, reach: Any, scale: float | None) -> Tensor:
        assert ends[0].dtype == ends[1].dtype == torch.int32
        assert lengths == tuple(int(e.diff().max()) for e in ends)
        states = []
        for (a, b), (c, d) in zip(*(zip(e[:-1].tolist(), e[1:].tolist(), strict=True) for e in ends), strict=True):
            one, keys, values = (
                t[s].transpose(0, 1) for t, s in ((q, slice(a, b)), (k, slice(c, d)), (v, slice(c, d)))
            )
            # The last token is aligned with the last key.
            ahead = torch.arange(d - c) - torch.arange(d - c - (b - a), d - c)[:, None]
            seen = (ahead >= (-reach[0] if reach[0] >= 0 else -1000)) & (ahead <= (reach[1] if reach[1] >= 0 else 1000))
            state = scaled_dot_product_attention(one, keys, values, attn_mask=seen, scale=scale, enable_gqa=True)
            states.append(state.transpose(0, 1))
        return torch.cat(states)

    def torch_2_10(
        q: Any, k: Any, v: Any, cu_q: Any, cu_k: Any, max_q: int, max_k: int, is_causal: bool = False
    ) -> Tensor:
        assert q.shape[1] == k.shape[1]
        return compute(q, k, v, (cu_q, cu_k), (max_q, max_k), (-1, 0 if is_causal else -1), None)

    def torch_2_13(
        q: Any,
        k: Any,
        v: Any,
        cu_q: Any,
        cu_k: Any,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> Tensor:
        assert enable_gqa == (q.shape[1] != k.shape[1])
        return compute(q, k, v, (cu_q, cu_k), (max_q, max_k), window_size, scale)

    return {"2.10": torch_2_10, "2.13": torch_2_13}[release]


@pytest.mark.parametrize("release", ["2.10", "2.13"])
@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("causal", [True, False])
def test_one_call_gets_the_keys_of_each_piece(
    causal: bool, window: int | None, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in, as the kernel runs on GPUs only: its index, its ends and its arguments are what is tested."""
    monkeypatch.setattr(varlen_attention, "_varlen_attn", stand_in(release))
    if release == "2.10" and window is not None:
        pytest.skip("no window in its arguments: varlen_attention.suits says no")
    monkeypatch.setattr(varlen_attention, "suits", lambda *_: True)
    pack = pack_of(shares=causal)
    lengths = pack.variable_lengths(torch.device("cpu"))
    assert (lengths.index is None) == (not causal)
    assert pack.variable_lengths(torch.device("cpu")) is lengths
    assert_same(pack, AttentionOptions(causal=causal, window=window, scaling=0.4), states_of(pack))


def test_a_cpu_or_a_cap_does_not_take_one_call() -> None:
    query = torch.randn(1, 2, 3, 8, dtype=torch.bfloat16)
    assert not varlen_attention.suits(query, None, None, 0.0)


class SlicesGradients(TorchDispatchMode):
    """Tokens of each gradient that a slice's backward pass writes: zeros but for the slice."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "slice_backward" in str(function):
            self.tokens.append(max(args[1]))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("softcap", [None, 0.8])
def test_no_piece_writes_a_gradient_as_long_as_the_row(softcap: float | None) -> None:
    pack = pack_of(shares=True)
    states = states_of(pack)
    with SlicesGradients() as gradients:
        attention(pack, *states, AttentionOptions(causal=True, softcap=softcap)).sum().backward()
    longest = max(piece.shared + piece.end - piece.start for piece in pack.pieces)
    assert all(tokens <= longest for tokens in gradients.tokens)
    with SlicesGradients() as gradients:  # a slice of the row would have been noticed
        states[0][:, :, 3:5].sum().backward()
    assert gradients.tokens == [pack.pieces[-1].end] and pack.pieces[-1].end > longest


@pytest.mark.parametrize(("capability", "knows"), [((7, 5), False), ((8, 0), True)])
def test_below_sm80_key_heads_are_repeated(
    capability: tuple[int, int], knows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There PyTorch's fast kernels know no key heads that several heads share, and its slow one would be taken."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    asked = piece_attention._knows_groups.__wrapped__(torch.device("cuda"))
    assert asked == knows
    monkeypatch.setattr(piece_attention, "_knows_groups", lambda device: asked)
    heads: set[tuple[int, bool]] = set()

    def noted(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        heads.add((key.shape[1], options["enable_gqa"]))
        return scaled_dot_product_attention(query, key, value, **options)

    monkeypatch.setattr(piece_attention, "scaled_dot_product_attention", noted)
    pack = pack_of(shares=False)
    assert_same(pack, AttentionOptions(causal=True), states_of(pack))
    assert heads == ({(KEY_HEADS, True)} if knows else {(HEADS, False)})
