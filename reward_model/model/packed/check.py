"""Whether a model can be read end to end, and gives the scores of each row by itself.

It is tried: rows that share a beginning, some longer than the model's window, are read packed and one by one. Scores must be
alike, and every layer's attention must have been the packed one. In half precision every way of reading rounds in its own
way, so "alike" is measured: packed rows may differ from single rows somewhat more than padded rows do.
"""

import contextlib
import copy
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from reward_model.model.packed.reader import PackedReader
from reward_model.model.score_layer import (
    TieAwareScore,
    find_score_layer,
    install_score_layer,
    last_positions,
    model_lock,
    score_inputs,
)
from reward_model.quiet import quiet_transformers
from reward_model.tokens.token_budget import padded

# Shares of the range that the rows' scores have, which is what a leak or a wrong position moves a score by.
ALLOWED, ALLOWED_IN_HALF, MOST_ALLOWED = 1e-3, 0.03, 0.15
WINDOWS = ("sliding_window", "local_attention", "attention_chunk_size")
ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError)
TWIN_VOCABULARY = 512


def packed_reader(model: Any, max_length: int = sys.maxsize) -> PackedReader | None:
    """A reader, or None for a model that must be read padded, such as one whose attention is its own.

    Args:
        model: a sequence classifier with a score layer, on the device that it computes on; its scores are computed in the
            autocast that is on.
        max_length: of the longest row that will come; a window that is no shorter is not tried.
    """
    reader = PackedReader(model)
    with model_lock(reader.stock), torch.no_grad(), quiet_transformers(), _evaluating(model):
        if agrees(reader, max_length):
            return reader
        # A kernel of this GPU or release may be to blame, and not the model.
        reader._call.one_call = False
        return reader if reader.device.type == "cuda" and agrees(reader, max_length) else None


def packed_reader_of_sharded(
    model: Any, max_length: int, device: torch.device, dtype: torch.dtype | None = None
) -> PackedReader | None:
    """As `packed_reader`, for a model that an engine will move, cast or spread later: a small twin of it is tried.

    Args:
        device: that the engine computes on.
        dtype: that the engine computes in; the model's if None.
    """
    reader = PackedReader(model)
    with _without_zero3():
        twin = twin_of(reader.stock).to(device, dtype or reader.stock.dtype)
    twins_reader = packed_reader(twin, max_length)
    if twins_reader is None:
        return None
    reader._call.one_call = twins_reader._call.one_call
    return reader


def agrees(reader: PackedReader, max_length: int = sys.maxsize) -> bool:
    """Whether rows read packed score as each does by itself, and the packed attention was that of all layers."""
    rows = check_rows(reader, max_length)
    with _random_weights(find_score_layer(reader.stock)):
        try:
            single = torch.cat([_padded(reader, [row]) for row in rows])
            # Without texts beyond a window, which would pad all others to their length.
            short = [number for number, row in enumerate(rows) if len(row) <= 64]
            noise = (_padded(reader, [rows[number] for number in short]) - single[short]).abs().max(dim=0).values
            packed, modules = reader.attended(rows)
        except ERRORS:
            return False
    layers = reader.stock.config.get_text_config().num_hidden_layers
    if len(modules) != layers or len(set(modules)) != layers:
        return False
    spread = single.max(dim=0).values - single.min(dim=0).values
    allowed = spread * (ALLOWED_IN_HALF if _is_half(reader) else ALLOWED) + 3 * noise
    return bool((packed - single).abs().le(allowed.minimum(MOST_ALLOWED * spread) + 1e-6).all())


def _is_half(reader: PackedReader) -> bool:
    autocast = torch.is_autocast_enabled(reader.device.type)
    return autocast or reader.stock.dtype in (torch.float16, torch.bfloat16)


def check_rows(reader: PackedReader, max_length: int) -> list[list[int]]:
    """Rows of random tokens, three that share a beginning; and two longer than the window, where rows may exceed it."""
    config = reader.stock.config.get_text_config()
    random = torch.Generator().manual_seed(0)

    def text(length: int) -> list[int]:
        ids: list[int] = torch.randint(config.vocab_size, (length,), generator=random).tolist()
        # Padding within a text has positions of its own in RoBERTa.
        return [(token + 1) % config.vocab_size if token == config.pad_token_id else token for token in ids]

    prompt, *rest = (text(length) for length in (24, 9, 17, 30, 5))
    rows = [rest[2], *(prompt + row for row in rest[:3]), rest[3]]
    windows = [window for name in WINDOWS if isinstance(window := getattr(config, name, None), int)]
    if windows := [window for window in windows if window < max_length]:
        long = text(max(windows))
        rows += [long + rest[0], long + rest[1]]
    return rows


def _padded(reader: PackedReader, rows: Sequence[Sequence[int]]) -> Tensor:
    """float32 [rows, 2], the rows padded to the longest."""
    input_ids, mask = padded(rows, reader.stock.config.get_text_config().pad_token_id or 0)
    inputs = {"input_ids": input_ids.to(reader.device)}
    if len(rows) > 1:
        inputs["attention_mask"] = mask.to(reader.device)
    with score_inputs(reader.stock, positions=last_positions(mask).to(reader.device)):
        scores: Tensor = reader.stock(**inputs).logits
    return scores.float()


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextlib.contextmanager
def _random_weights(layer: TieAwareScore) -> Iterator[None]:
    """Inside the block the score layer tells states apart: one that is 0, as before training, gives all the same score."""
    kept = [(parameter, parameter.detach().clone()) for parameter in (layer.weight, layer.tie.weight)]
    random = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for parameter, before in kept:
                parameter.copy_(torch.randn(before.shape, generator=random))
        yield
    finally:
        with torch.no_grad():
            for parameter, before in kept:
                parameter.copy_(before)


def twin_of(stock: Any) -> Any:
    """A small model of the same class, with its shapes of attention and random weights.

    It has a layer of each type, two at least, and few words. It is whole and on the CPU, in float32.
    """
    config = copy.deepcopy(stock.config)
    text = config.get_text_config()
    types = sorted(set(getattr(text, "layer_types", None) or []))
    text.num_hidden_layers = max(2, len(types))
    if types:
        text.layer_types = (types * 2)[: text.num_hidden_layers]
    text.vocab_size = TWIN_VOCABULARY
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if (getattr(text, name, None) or 0) >= TWIN_VOCABULARY:
            setattr(text, name, 0)
    classes = [c for c in type(stock).__mro__ if c.__module__.startswith("transformers.models.")]
    twin = classes[0](config)  # FSDP2 makes a class of its own of a model's
    install_score_layer(twin, style_features=0, tie_bias=0.0)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            # Initial weights hardly tell positions apart.
            size = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.2
            parameter.add_(torch.randn(parameter.shape, generator=random).mul_(size))
    return twin


@contextlib.contextmanager
def _without_zero3() -> Iterator[None]:
    """Inside the block Transformers builds models whole, also where ZeRO 3 would spread their weights."""
    from transformers.integrations import deepspeed

    weak = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if weak is not None and (config := weak()) is not None:
            deepspeed.set_hf_deepspeed_config(config)
