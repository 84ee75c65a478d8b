"""Lays the rows of a batch end to end, a prompt that two rows share only once."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

# Shorter beginnings are not worth the copies that sharing them takes.
LEAST_SHARED = 16


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device. A GPU's queue is not waited for, as `.to` alone would do."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


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


class Pack:
    """What attention must know of a row of pieces; made once a pack, used by every layer.

    Args:
        pieces: as `lay_out` returns them.

    Attributes:
        sizes: lengths of the chunks between all places where a piece or a shared beginning begins or ends. One `split` by
            them gives every piece's keys; slices would each write a gradient as long as the row.
        own: each piece's chunks of its own tokens.
        shared: each piece's chunks of its shared beginning.
    """

    def __init__(self, pieces: Sequence[Piece] = ()):
        self.pieces = pieces
        edges = {edge for p in pieces for edge in (p.start, p.end, p.shared_start, p.shared_start + p.shared)}
        cuts = sorted(edges)
        self.sizes = [end - start for start, end in itertools.pairwise(cuts)]
        place = {cut: number for number, cut in enumerate(cuts)}
        self.own = [range(place[p.start], place[p.end]) for p in pieces]
        self.shared = [
            range(place[p.shared_start], place[p.shared_start + p.shared]) if p.shared else range(0) for p in pieces
        ]
        self._tensors: dict[Any, Any] = {}

    def starts(self, device: torch.device) -> torch.Tensor:
        """int64 [pieces]: the place of each piece's first own token."""
        return self._once(("starts", device), lambda: sent(torch.tensor([p.start for p in self.pieces]), device))

    def variable_lengths(self, device: torch.device) -> "VariableLengths":
        """The pack as kernels for rows of unequal length take it."""
        return self._once(("lengths", device), lambda: VariableLengths.of(self.pieces, device))

    def mask(
        self, tokens: int, keys: int, before: int, causal: bool, window: int | None, like: torch.Tensor
    ) -> torch.Tensor | None:
        """[tokens, keys] to be added to scores: 0 where a token may read a key, -inf elsewhere; None if it may read all.

        Args:
            before: how many keys lie before the first of the tokens.
            causal: a token reads nothing behind it.
            window: a token reads keys that are fewer tokens away than this.
            like: its dtype and device are the mask's.
        """
        last = before + tokens - 1
        if (not causal or (tokens == 1 and keys <= before + 1)) and (
            window is None or window > max(last, keys - 1 - before)
        ):
            return None

        def mask() -> torch.Tensor:
            ahead = torch.arange(keys, device=like.device) - torch.arange(before, last + 1, device=like.device)[:, None]
            hidden = ahead > 0 if causal else torch.zeros_like(ahead, dtype=torch.bool)
            if window is not None:
                hidden = hidden | (ahead.abs() >= window)
            return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))

        return self._once((tokens, keys, before, causal, window, like.dtype, like.device), mask)

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._tensors:
            self._tensors[key] = make()
        return self._tensors[key]


@dataclass(frozen=True)
class VariableLengths:
    """A pack for kernels that take rows of unequal length end to end (`torch.nn.attention.varlen`).

    Attributes:
        index: int64 [keys], the row's tokens that each piece reads, piece after piece; None if that is the row itself.
        query_ends, key_ends: int32 [pieces + 1], where each piece's own tokens, and the keys it reads, end.
        longest_query, longest_keys: of the pieces.
    """

    index: torch.Tensor | None
    query_ends: torch.Tensor
    key_ends: torch.Tensor
    longest_query: int
    longest_keys: int

    @classmethod
    def of(cls, pieces: Sequence[Piece], device: torch.device) -> "VariableLengths":
        own = [piece.end - piece.start for piece in pieces]
        keys = [piece.shared + piece.end - piece.start for piece in pieces]
        index = [
            place
            for piece in pieces
            for part in ((piece.shared_start, piece.shared_start + piece.shared), (piece.start, piece.end))
            for place in range(*part)
        ]
        query_ends, key_ends = (
            sent(torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32), device)
            for lengths in (own, keys)
        )
        whole = sum(own) == sum(keys)
        gathered = None if whole else sent(torch.tensor(index), device)
        return cls(gathered, query_ends, key_ends, max(own), max(keys))
