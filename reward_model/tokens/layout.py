"""Lays the rows of a batch end to end, a prompt that two rows share only once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

# Shorter beginnings are not worth the copies that sharing them takes.
LEAST_SHARED = 16


@dataclass(frozen=True)
class Piece:
    """A sequence's place in the row: its own tokens from `start` to `end`, after `shared` tokens from `shared_start`."""

    shared_start: int
    shared: int
    start: int
    end: int


def shared_tokens(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike, short of the last of either; 0 where too few to be worth it."""
    longest = min(len(one), len(other)) - 1
    low, high = 0, longest
    # Slices compare quickly: halving finds the place in a few of them.
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low if low >= LEAST_SHARED else 0


def lay_out(rows: Sequence[Sequence[int]], shares: bool) -> dict[str, Any]:
    """Rows laid end to end.

    Args:
        rows: token ids; those that begin alike side by side.
        shares: read what neighbours begin with once; only right where attention is causal.

    Returns: {input_ids int64 [1, tokens], position_ids int64 [1, tokens], pieces: a list of one `Piece` a row}.
    """
    ids: list[int] = []
    positions: list[int] = []
    pieces: list[Piece] = []
    first: Sequence[int] = []
    for row in rows:
        shared = shared_tokens(first, row) if shares and pieces else 0
        # All that share a beginning share it with the first of them, which lies beside it.
        begins = pieces[-1].shared_start if shared else len(ids)
        pieces.append(Piece(begins, shared, len(ids), len(ids) + len(row) - shared))
        ids.extend(row[shared:])
        positions.extend(range(shared, len(row)))
        if not shared:
            first = row
    return {"input_ids": torch.tensor([ids]), "position_ids": torch.tensor([positions]), "pieces": pieces}


def lengths_packed(rows: Sequence[Sequence[int]], shares: bool) -> list[int]:
    """Tokens that each row adds to a pack of them all, in this order."""
    lengths: list[int] = []
    first: Sequence[int] = []
    for row in rows:
        shared = shared_tokens(first, row) if shares and lengths else 0
        lengths.append(len(row) - shared)
        if not shared:
            first = row
    return lengths
