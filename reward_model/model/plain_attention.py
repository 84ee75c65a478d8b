"""Attention of one sequence as two matrix products and a softmax between them, for bfloat16 on a CPU.

There PyTorch 2.13's fused attention takes twice the time of these for sequences of a few hundred tokens, and two to four
times with the backward pass: oneDNN's products use the CPU's bfloat16 instructions, the fused kernel hardly does
(docs/LOG.md). The scores of all pairs of tokens are kept, so long sequences are left to the fused kernel.

Source: Vaswani et al. (2017), "Attention Is All You Need", equation 1.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout as drop

LONGEST = 1024


def is_faster(query: Tensor, keys: int) -> bool:
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and keys <= LONGEST


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    causal: bool,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> Tensor:
    """Attention of the last tokens of a sequence over all of it.

    Args:
        query: [1, heads, own, size], of the last `own` tokens.
        key, value: [1, key heads, tokens, size]; key heads divide heads.
        causal: whether a token reads nothing behind it.
        scaling: of the scores; size ** -0.5 if None.

    Returns: [1, own, heads, size].
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = (query * (scaling or query.shape[-1] ** -0.5)) @ key.transpose(-1, -2)
    if causal:
        scores = scores + _behind(query.shape[2], key.shape[2], query.dtype)
    return (drop(scores.softmax(dim=-1), dropout) @ value).transpose(1, 2)


@functools.lru_cache(maxsize=64)
def _behind(own: int, tokens: int, dtype: torch.dtype) -> Tensor:
    """[own, tokens]: 0 where the token may be read, -inf where it lies behind the reader."""
    with torch.inference_mode(False):  # it is kept, and may be used in training next
        return torch.full((own, tokens), float("-inf"), dtype=dtype).triu(tokens - own + 1)
