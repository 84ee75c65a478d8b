"""Attention of all pieces of a packed row in one call of PyTorch's flash attention, on GPUs from sm80 in half precision.

Each piece's keys, those of a shared beginning first, are gathered by an index that is made once a pack. The kernel aligns
the last token with the last key, so a prompt's tokens are not computed again. `varlen_attn` came with PyTorch 2.10, and its
arguments changed until 2.13: what this release takes is read from its signature. Whether it computes what it should is
found out by `reward_model.model.packed.reader`, on the GPU that it runs on.

Source: https://docs.pytorch.org/docs/stable/nn.attention.varlen.html.
"""

import functools
import inspect
from collections.abc import Callable, Set
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import repeat_kv

from reward_model.tokens.layout import VariableLengths

try:
    from torch.nn.attention.varlen import varlen_attn as _varlen_attn
except ImportError:  # before PyTorch 2.10
    _varlen_attn = None  # type: ignore[assignment]

LARGEST_HEAD = 256


def kernel() -> Callable[..., Any] | None:
    """PyTorch's function, or None where this release has none."""
    return _varlen_attn


@functools.lru_cache
def _arguments(function: Callable[..., Any]) -> Set[str]:
    return inspect.signature(function).parameters.keys()


def suits(query: Tensor, softcap: float | None, window: int | None, dropout: float) -> bool:
    """Whether the kernel can compute this: it has no cap and no dropout, and not every release has a window."""
    function = kernel()
    return (
        function is not None
        and query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= LARGEST_HEAD
        and not softcap
        and not dropout
        and (window is None or "window_size" in _arguments(function))
    )


def attention(
    lengths: VariableLengths,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    window: int | None,
    scaling: float | None,
) -> Tensor:
    """query [1, heads, tokens, size], key and value [1, key heads, tokens, size] -> [1, tokens, heads, size]."""
    function = kernel()
    assert function is not None
    known = _arguments(function)
    options: dict[str, Any] = {}
    if query.shape[1] != key.shape[1]:
        if "enable_gqa" in known:
            options["enable_gqa"] = True
        else:
            groups = query.shape[1] // key.shape[1]
            key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    if "window_size" in known:
        reach = -1 if window is None else window - 1
        options["window_size"] = (reach, 0 if causal else reach)
    else:
        options["is_causal"] = causal
    if scaling is not None and "scale" in known:
        options["scale"] = scaling
    elif scaling is not None:
        query = query * (scaling * query.shape[-1] ** 0.5)
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    if lengths.index is not None:
        k, v = k.index_select(0, lengths.index), v.index_select(0, lengths.index)
    states: Tensor = function(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        lengths.query_ends,
        lengths.key_ends,
        lengths.longest_query,
        lengths.longest_keys,
        **options,
    )
    return states.unsqueeze(0)
