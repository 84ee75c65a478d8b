"""Attention alone: what a plan of cuDNN's costs a new length, and one call for all pieces beside a call a piece."""

import contextlib
import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.device import forget_peak, seconds
from benchmarks.gpu.models import random_battles
from reward_model.model.packed.piece_attention import AttentionOptions, attention
from reward_model.tokens.layout import Pack, lay_out

# Of one layer: heads, key heads, their size.
HEADS = {"llama8b": (32, 8, 128), "gemma9b": (16, 8, 256)}
SOFTCAP = {"llama8b": None, "gemma9b": 50.0}


@contextlib.contextmanager
def cudnn_attention(enabled: bool) -> Iterator[None]:
    """Inside the block PyTorch may or may not take cuDNN's attention."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(enabled)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def states(bench: Bench, tokens: int, heads: tuple[int, int, int]) -> list[Tensor]:
    """Query, key and value [1, heads, tokens, size] with gradients, as projections give them."""
    query, keys, size = heads
    sizes = (query, keys, keys)
    made = [torch.randn(1, tokens, n, size, device=bench.device, dtype=bench.half, requires_grad=True) for n in sizes]
    return [tensor.transpose(1, 2) for tensor in made]


def plans(bench: Bench) -> None:
    """Milliseconds that attention takes for a length that is new, and for one that was met before."""
    count, heads = (3, (4, 2, 16)) if bench.tiny else (12, HEADS["llama8b"])
    random = np.random.default_rng(0)
    for enabled in (False, True):
        # Lengths of its own, so that neither finds what the other has planned.
        lengths = random.choice(
            np.arange(16, 96) if bench.tiny else np.arange(100, 1200), count, replace=False
        ).tolist()
        query, key, value = states(bench, sum(lengths), heads)

        def one_a_piece(lengths: list[int], query: Tensor, key: Tensor, value: Tensor) -> None:
            parts = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
            outputs = [scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True) for q, k, v in parts]
            torch.cat(outputs, dim=2).sum().backward(retain_graph=True)

        with cudnn_attention(enabled):
            first, again = seconds(functools.partial(one_a_piece, lengths, query, key, value))
        bench.results.add(
            "plans",
            cudnn=enabled,
            ms_a_new_length=1e3 * first / count,
            ms_a_known_length=1e3 * again / count,
        )
    forget_peak()


def pieces(bench: Bench) -> None:
    """One layer's attention over a pack of 8,192 tokens: one call for all pieces, and a call a piece."""
    battles = random_battles(2 if bench.tiny else 24, bench.longest, 500, seed=4)
    budget = 400 if bench.tiny else 8192
    rows: list[list[int]] = []
    for battle in battles:
        if sum(map(len, rows)) + sum(map(len, battle)) <= budget:
            rows += battle
    pack = Pack(lay_out(rows, shares=True)["pieces"])
    tokens = pack.pieces[-1].end
    for model, heads in HEADS.items():
        inputs = states(bench, tokens, (4, 2, 16) if bench.tiny else heads)
        outputs: dict[str, Tensor] = {}
        for way, one_call in (("one call", True), ("a call a piece", False)):
            options = AttentionOptions(causal=True, softcap=SOFTCAP[model], one_call=one_call)

            def forward(options: AttentionOptions, inputs: list[Tensor]) -> Tensor:
                query, key, value = inputs
                return attention(pack, query, key, value, options)

            def with_backward(options: AttentionOptions, inputs: list[Tensor]) -> None:
                forward(options, inputs).sum().backward()

            with torch.no_grad():
                outputs[way] = forward(options, inputs)
                new, known = seconds(functools.partial(forward, options, inputs))
            _, both = seconds(functools.partial(with_backward, options, inputs))
            off = float((outputs[way] - outputs["one call"]).abs().max())
            bench.results.add(
                "pieces",
                model=model,
                way=way,
                pieces=len(pack.pieces),
                tokens=tokens,
                first_ms=1e3 * new,
                forward_ms=1e3 * known,
                forward_and_backward_ms=1e3 * both,
                differs_by=off,
                ok=off <= 0.05,
            )
        forget_peak()
