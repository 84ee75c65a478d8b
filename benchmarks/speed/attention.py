"""Attention of packed rows on a CPU: `python -m benchmarks.speed.attention`.

Two comparisons, each in turns in one process; printed are medians and ratios.

- Pieces: forward and backward of one layer's attention over a row of 64 pieces, 32 prompts each with two responses.
  "Slices" is how it was computed before: each piece takes its tokens by slices, whose gradients are as long as the row.
- Gemma 2: its real depth of 42 layers, capped scores and windows in every other layer, at a small width. Packed and padded
  reading of the same battles, to predict and to train. Padded prediction sorts rows by length as
  `reward_model.predict.scorer` does; padded training is the collator's four groups. Text tokens are counted before prompts
  are shared.
"""

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, Gemma2Config
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from reward_model.model.batch_rewards import batch_rewards
from reward_model.model.packed.check import packed_reader
from reward_model.model.packed.piece_attention import AttentionOptions, attention
from reward_model.model.packed.reader import PackedReader
from reward_model.model.score_layer import install_score_layer, last_positions, score_inputs
from reward_model.tokens.collator import BattleCollator
from reward_model.tokens.layout import Pack, lay_out, lengths_packed
from reward_model.tokens.token_budget import batches, packs, padded

HEADS, KEY_HEADS, SIZE = 16, 4, 64
VOCABULARY = 1000
Rows = list[list[int]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=64)
    parser.add_argument("--battles", type=int, default=24, help="that Gemma 2 reads")
    parser.add_argument("--layers", type=int, default=42)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--window", type=int, default=512, help="of every other layer; Gemma 2's own is 4,096")
    parser.add_argument("--max_length", type=int, default=1024)
    parser.add_argument("--batch_tokens", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def made_battles(count: int, longest: int) -> list[tuple[list[int], list[int]]]:
    """Rows (A, B) of random tokens; lengths as in the competition, medians of 45 (prompt) and 230 (response)."""
    random = np.random.default_rng(0)
    battles = []
    for _ in range(count):
        prompt = int(np.clip(random.lognormal(math.log(45), 1.2), 8, longest // 2))
        head = random.integers(3, VOCABULARY, prompt).tolist()
        lengths = [int(np.clip(random.lognormal(math.log(230), 0.9), 4, longest - prompt)) for _ in range(2)]
        battles.append(
            (
                head + random.integers(3, VOCABULARY, lengths[0]).tolist(),
                head + random.integers(3, VOCABULARY, lengths[1]).tolist(),
            )
        )
    return battles


def by_slices(pack: Pack, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of the pieces as it was computed before."""
    module = torch.nn.Module()
    module.num_key_value_groups = HEADS // KEY_HEADS  # type: ignore[assignment]
    states = []
    for piece in pack.pieces:
        own = slice(piece.start, piece.end)
        shared = slice(piece.shared_start, piece.shared_start + piece.shared)
        q, k, v = (
            torch.cat((t[:, :, shared], t[:, :, own]), dim=2) if piece.shared else t[:, :, own]
            for t in (query, key, value)
        )
        out, _ = sdpa_attention_forward(module, q, k, v, None)
        states.append(out[:, piece.shared :])
    return torch.cat(states, dim=1)


def seconds_in_turns(work: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each; one call of each warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compare_pieces(pieces: int, repeats: int) -> None:
    random = np.random.default_rng(0)
    rows: Rows = []
    for _ in range(pieces // 2):
        prompt = random.integers(3, VOCABULARY, 45).tolist()
        rows += [
            prompt + random.integers(3, VOCABULARY, int(length)).tolist() for length in random.integers(40, 140, 2)
        ]
    pack = Pack(lay_out(rows, shares=True)["pieces"])
    tokens = pack.pieces[-1].end
    # As projections give them: [1, tokens, heads, size], seen with heads first.
    states = [torch.randn(1, tokens, n, SIZE, requires_grad=True) for n in (HEADS, KEY_HEADS, KEY_HEADS)]
    options = AttentionOptions(causal=True)
    ways: dict[str, Callable[..., Tensor]] = {
        "slices": by_slices,
        "split": functools.partial(attention, options=options),
    }
    torch.testing.assert_close(
        *(way(pack, *(s.transpose(1, 2) for s in states)) for way in ways.values()), atol=1e-5, rtol=1e-4
    )

    def backward(way: Callable[..., Tensor]) -> None:
        torch.autograd.grad(way(pack, *(s.transpose(1, 2) for s in states)).sum(), states)

    def forward(way: Callable[..., Tensor]) -> None:
        with torch.no_grad():
            way(pack, *(s.transpose(1, 2) for s in states))

    both = seconds_in_turns({name: functools.partial(backward, way) for name, way in ways.items()}, repeats)
    alone = seconds_in_turns({name: functools.partial(forward, way) for name, way in ways.items()}, repeats)
    print(f"\n{len(pack.pieces)} pieces, {tokens:,} tokens, {HEADS} heads, {KEY_HEADS} key heads of {SIZE}\n")
    print("| attention of a layer | forward (ms) | backward (ms) |\n| --- | --- | --- |")
    back = {name: both[name] - alone[name] for name in ways}
    for name in ways:
        print(f"| {name} | {1e3 * alone[name]:.0f} | {1e3 * back[name]:.0f} |")
    print(f"| ratio | {alone['slices'] / alone['split']:.2f} | {back['slices'] / back['split']:.2f} |")


def small_gemma2(options: argparse.Namespace) -> Any:
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=options.hidden_size,
        intermediate_size=4 * options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=options.hidden_size // 4,
        sliding_window=options.window,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
        use_cache=False,
    )
    config.num_labels = 1
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    install_score_layer(model, style_features=0, tie_bias=0.0)
    return model.eval()


def predict_padded(model: Any, rows: Rows, batch_tokens: int) -> Tensor:
    scores = torch.empty(len(rows), 2)
    for batch in batches([len(row) for row in rows], batch_tokens):
        ids, mask = padded([rows[row] for row in batch], 0)
        with score_inputs(model, positions=last_positions(mask)):
            scores[batch] = model(input_ids=ids, attention_mask=None if bool(mask.all()) else mask).logits
    return scores


def predict_packed(reader: PackedReader, rows: Rows, batch_tokens: int) -> Tensor:
    chosen = packs(lengths_packed(rows, reader.causal), batch_tokens)
    return torch.cat([reader.scores([rows[row] for row in batch]) for batch in chosen])


def train(
    model: Any, battles: list[tuple[list[int], list[int]]], reader: PackedReader | None, batch_tokens: int
) -> None:
    """Forward and backward of all battles, in batches of the budget."""
    collator = BattleCollator(0, padding_free=reader is not None, shares=reader is not None)
    lengths = [len(a) + len(b) for a, b in battles]
    for batch in packs(lengths, batch_tokens):
        rows = [{"input_ids_a": battles[n][0], "input_ids_b": battles[n][1], "index": n} for n in batch]
        if reader is None:
            batch_rewards(model, collator(rows), None, caches=True).sum().backward()
        else:
            with reader.reading():
                batch_rewards(model, collator(rows), reader, caches=True).sum().backward()
    model.zero_grad()


def compare_gemma2(options: argparse.Namespace) -> None:
    model = small_gemma2(options)
    reader = packed_reader(model, options.max_length)
    assert reader is not None
    # Longest first, as shards are dealt: battles of a batch are of like length.
    battles = sorted(made_battles(options.battles, options.max_length), key=lambda pair: -max(map(len, pair)))
    rows = [row for battle in battles for row in battle]
    tokens = sum(map(len, rows))
    budget = options.batch_tokens
    with torch.inference_mode():
        torch.testing.assert_close(
            predict_padded(model, rows, budget), predict_packed(reader, rows, budget), atol=1e-4, rtol=1e-3
        )
        prediction = seconds_in_turns(
            {
                "padded": lambda: predict_padded(model, rows, budget),
                "packed": lambda: predict_packed(reader, rows, budget),
            },
            options.repeats,
        )
    training = seconds_in_turns(
        {
            "padded": lambda: train(model, battles, None, budget),
            "packed": lambda: train(model, battles, reader, budget),
        },
        options.repeats,
    )
    unique = sum(sum(lengths_packed(list(battle), True)) for battle in battles)
    print(
        f"\nGemma 2, {options.layers} layers of {options.hidden_size}, every other with windows of {options.window}, float32"
    )
    print(f"{options.battles} battles, {tokens:,} text tokens, {unique:,} once prompts are shared\n")
    print("| reading | prediction (text tokens/s) | training (text tokens/s) |\n| --- | --- | --- |")
    for name in prediction:
        print(f"| {name} | {tokens / prediction[name]:,.0f} | {tokens / training[name]:,.0f} |")
    ratios = [seconds["padded"] / seconds["packed"] for seconds in (prediction, training)]
    print(f"| ratio | {ratios[0]:.2f} | {ratios[1]:.2f} |")


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    compare_pieces(options.pieces, options.repeats)
    compare_gemma2(options)


if __name__ == "__main__":
    main()
