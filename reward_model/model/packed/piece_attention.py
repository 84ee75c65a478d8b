"""Attention within each piece of a packed row, by the kernel that suits the device and what the model asks for.

    capped scores                       two products and a tanh (`reward_model.model.packed.plain_attention`)
    GPU from sm80, half precision       one call for all pieces (`reward_model.model.packed.varlen_attention`)
    bfloat16 on a CPU                   two products (`reward_model.model.packed.plain_attention`)
    all else                            PyTorch's scaled_dot_product_attention, a piece at a time

A window (a token reads keys fewer than `window` tokens away) is a mask; blocks of tokens read only the keys that the window
and causality leave to them.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import repeat_kv

from reward_model.model.packed import plain_attention, varlen_attention
from reward_model.tokens.layout import Pack, Piece

# Tokens whose scores are computed at once, where they are computed by a mask or by plain products.
BLOCK = 512


@dataclass(frozen=True)
class AttentionOptions:
    """What a layer asks of attention.

    Attributes:
        causal: a token reads nothing behind it.
        window: a token reads keys that are fewer tokens away than this; None for no window.
        softcap: the size that scores stay below; None for no cap.
        scaling: of the scores; size ** -0.5 if None.
        dropout: of the attention weights.
        one_call: whether `varlen_attention` may be used.
    """

    causal: bool
    window: int | None = None
    softcap: float | None = None
    scaling: float | None = None
    dropout: float = 0.0
    one_call: bool = True


def attention(pack: Pack, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions) -> Tensor:
    """query [1, heads, tokens, size], key and value [1, key heads, tokens, size] -> [1, tokens, heads, size]."""
    if options.one_call and varlen_attention.suits(query, options.softcap, options.window, options.dropout):
        lengths = pack.variable_lengths(query.device)
        return varlen_attention.attention(lengths, query, key, value, options.causal, options.window, options.scaling)
    queries, keys, values = (tensor.split(pack.sizes, dim=2) for tensor in (query, key, value))
    states = []
    for piece, shared, own in zip(pack.pieces, pack.shared, pack.own, strict=True):
        k, v = (_joined(chunks, [*shared, *own]) for chunks in (keys, values))
        if _reads_prompt_again(piece, k, options):
            # Without a mask the fused kernel wants as many tokens as keys: the prompt's are computed with the rest.
            all_states = _fused(_joined(queries, [*shared, *own]), k, v, None, True, options)
            states.append(all_states[:, piece.shared :])
        else:
            states += _blocks_of_tokens(pack, _joined(queries, own), k, v, piece.shared, options)
    return torch.cat(states, dim=1)


def first_tokens(pack: Pack, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions) -> Tensor:
    """As `attention`, but computed for the first token of each piece only; the others' states are 0."""
    starts = pack.starts(query.device)
    queries = query[:, :, starts].split(1, dim=2)
    keys, values = (tensor.split(pack.sizes, dim=2) for tensor in (key, value))
    states = [
        state
        for q, own in zip(queries, pack.own, strict=True)
        for state in _blocks_of_tokens(pack, q, _joined(keys, own), _joined(values, own), 0, options)
    ]
    only_first = torch.cat(states, dim=1)
    everything = only_first.new_zeros(1, query.shape[2], *only_first.shape[2:])
    return everything.index_copy(1, starts, only_first)


def _joined(chunks: tuple[Tensor, ...], places: "list[int] | range") -> Tensor:
    return chunks[places[0]] if len(places) == 1 else torch.cat([chunks[place] for place in places], dim=2)


def _is_plain(query: Tensor, keys: int, options: AttentionOptions) -> bool:
    return options.softcap is not None or plain_attention.is_faster(query, keys)


def _limiting_window(keys: int, options: AttentionOptions) -> int | None:
    return options.window if options.window is not None and options.window < keys else None


def _reads_prompt_again(piece: Piece, key: Tensor, options: AttentionOptions) -> bool:
    """Whether computing a shared beginning's attention again is less work than a mask over all keys."""
    keys, own = key.shape[2], piece.end - piece.start
    fused = options.causal and _limiting_window(keys, options) is None and not _is_plain(key, keys, options)
    return fused and bool(piece.shared) and 2 * own >= keys


def _blocks_of_tokens(
    pack: Pack, query: Tensor, key: Tensor, value: Tensor, before: int, options: AttentionOptions
) -> Iterator[Tensor]:
    """States [1, tokens, heads, size] of a piece's own tokens, which come after `before` of the keys, a block at a time."""
    tokens, keys = query.shape[2], key.shape[2]
    plain, window = _is_plain(query, keys, options), _limiting_window(keys, options)
    # Tokens and keys that begin together are what the fused kernel knows without a mask.
    if not plain and window is None and (not options.causal or not before):
        yield _fused(query, key, value, None, options.causal and tokens > 1, options)
        return
    for first in range(0, tokens, BLOCK):
        last = min(tokens, first + BLOCK)
        reach = window - 1 if window is not None else keys
        low = max(0, before + first - reach)
        high = before + last if options.causal else min(keys, before + last + reach)
        if (first, last, low, high) == (0, tokens, 0, keys):
            q, k, v = query, key, value
        else:
            q, k, v = query[:, :, first:last], key[:, :, low:high], value[:, :, low:high]
        mask = pack.mask(last - first, high - low, before + first - low, options.causal, window, query)
        if plain:
            yield plain_attention.attention(
                q, k, v, mask, scaling=options.scaling, softcap=options.softcap, dropout=options.dropout
            )
        else:
            yield _fused(q, k, v, mask, False, options)


def _fused(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, options: AttentionOptions
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    grouped = groups > 1 and mask is None and key.shape[-1] <= 256 and _knows_groups(query.device)
    if groups > 1 and not grouped:
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    states = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=options.dropout,
        is_causal=causal,
        scale=options.scaling,
        enable_gqa=grouped,
    )
    return states.transpose(1, 2)


@functools.lru_cache
def _knows_groups(device: torch.device) -> bool:
    """Below sm80 only PyTorch's slow float32 mathematics knows key heads that several heads share."""
    return device.type == "cpu" or (device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0))
