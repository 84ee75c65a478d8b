"""Attention as two matrix products and a softmax between them: for capped scores, and for bfloat16 on a CPU.

Gemma 2 caps its scores, cap * tanh(score / cap), which PyTorch's fused attention cannot. In bfloat16 on a CPU PyTorch 2.13's
fused attention takes twice the time of these products for sequences of a few hundred tokens, and two to four times with the
backward pass: oneDNN's products use the CPU's bfloat16 instructions, the fused kernel hardly does (docs/LOG.md). The scores
of all pairs of tokens are kept, so long sequences that need no cap are left to the fused kernel.

Sources: Vaswani et al. (2017), "Attention Is All You Need", equation 1; Gemma Team (2024), "Gemma 2", section 2.
"""

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
    mask: Tensor | None,
    *,
    scaling: float | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention of some tokens over a sequence's keys.

    Args:
        query: [1, heads, tokens, size].
        key, value: [1, key heads, keys, size]; key heads divide heads.
        mask: [tokens, keys], added to the scores; None where all may be read.
        scaling: of the scores; size ** -0.5 if None.
        softcap: the size that scores stay below; None for no cap. With it the softmax is float32, as in Gemma 2's code.

    Returns: [1, tokens, heads, size].
    """
    _, heads, tokens, size = query.shape
    scaling = size**-0.5 if scaling is None else scaling
    query = query * (scaling / softcap if softcap else scaling)
    # The queries that share a key head lie under each other: no key is copied for them.
    query = query.reshape(1, key.shape[1], -1, size)
    scores = (query @ key.transpose(-1, -2)).view(1, heads, tokens, key.shape[2])
    if softcap:
        scores = scores.tanh_()
        scores = scores * softcap if mask is None else torch.add(mask, scores, alpha=softcap)
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    else:
        weights = (scores if mask is None else scores + mask).softmax(dim=-1)
    states = drop(weights, dropout).view(1, key.shape[1], -1, key.shape[2]) @ value
    return states.view(1, heads, tokens, -1).transpose(1, 2)
