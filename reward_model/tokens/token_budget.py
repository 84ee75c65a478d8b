"""Batches of a token budget: little padding, pairs kept together, about equal work on every rank and step.

A batch is a list of battles. Its rows (two a battle) are read in `GROUPS` groups of like length, each padded to its own
longest row, so a short answer is not padded to its rival's length. Randomness stays in which battles share a pool, and in
the order of batches. The number of groups is fixed, because under ZeRO 3 and FSDP every rank must call the model equally
often.

The idea of a token budget with the loss weighted by share is that of the LMSYS competition's fourth place
(https://github.com/tascj/kaggle-lmsys-chatbot-arena).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

GROUPS = 4
POOL_BATCHES = 32


def split_rows(lengths: np.ndarray) -> list[np.ndarray]:
    """The rows in `GROUPS` groups of like length, so that padding each group to its longest row costs least.

    Args:
        lengths: int [rows].

    Returns: int arrays of row indices, together a permutation; empty ones where there are fewer rows than groups.
    """
    order = np.argsort(lengths, kind="stable")
    ends = _best_ends(lengths[order])
    return np.split(order, ends)


def _best_ends(ascending: np.ndarray) -> list[int]:
    """Where to cut ascending lengths into `GROUPS` runs; minimises the sum of (rows x longest), by dynamic programming."""
    rows = len(ascending)
    # cost[i, j]: rows i to j - 1 as one group.
    starts, ends = np.arange(rows + 1)[:, None], np.arange(rows + 1)[None, :]
    longest = np.concatenate([[0], ascending])[None, :]
    cost = np.where(ends >= starts, (ends - starts) * longest, np.inf)
    best, choice = cost[0], []
    for _ in range(GROUPS - 1):
        totals = best[:, None] + cost
        choice.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    cuts, end = [], rows
    for previous in reversed(choice):
        end = int(previous[end])
        cuts.append(end)
    return cuts[::-1]


def padded_tokens(lengths: np.ndarray) -> int:
    """Tokens a batch of battles costs, padding included. lengths: int [battles, 2], tokens of each row."""
    rows = lengths.reshape(-1)
    return int(sum(len(group) * rows[group].max(initial=0) for group in split_rows(rows)))


def padding_share(batches: Sequence[Sequence[int]], lengths: np.ndarray) -> float:
    """The share of padding among all tokens of the batches, in 0 to 1."""
    padded = sum(padded_tokens(lengths[list(batch)]) for batch in batches)
    return 1 - sum(int(lengths[list(batch)].sum()) for batch in batches) / padded if padded else 0.0


def pack(indices: np.ndarray, lengths: np.ndarray, batch_tokens: int) -> list[list[int]]:
    """Splits battles into batches that cost at most `batch_tokens` each, filled with the longest first.

    Args:
        indices: int [n], rows of `lengths` to split.
        lengths: int [battles, 2].
    """
    pairs = lengths[indices]
    ordered = indices[np.lexsort((pairs.min(axis=1), pairs.max(axis=1)))[::-1]]
    batches: list[list[int]] = []
    batch: list[int] = []
    for index in ordered.tolist():
        if batch and padded_tokens(lengths[[*batch, index]]) > batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(index)
    return [*batches, batch] if batch else batches


class TokenBudgetSampler(Sampler[list[int]]):
    """Batches of battle indices for one rank; all ranks together see every battle once an epoch.

    Args:
        lengths: int [battles, 2], tokens of each side.
        batch_tokens: tokens, padding included, of one batch on one rank.
        seed: equal on every rank.
        rank, world_size: this process and how many there are.
        shuffle: off for evaluation, where the longest batches come first (memory runs out early or not at all).

    Raises: ValueError where a battle's two rows are over the budget, or where there are too few batches to split for
        every rank to take as many.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_tokens: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ):
        self.lengths = np.asarray(lengths, dtype=np.int64).reshape(-1, 2)
        longest = int(self.lengths.sum(axis=1).max(initial=0))
        if longest > batch_tokens:
            raise ValueError(f"batch_tokens is {batch_tokens}, but a battle's two rows hold {longest} tokens; raise it")
        if len(self.lengths) < world_size:
            raise ValueError(f"{len(self.lengths)} battles cannot be dealt to {world_size} processes")
        self.batch_tokens, self.seed, self.shuffle = batch_tokens, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._made: tuple[int, list[list[int]]] | None = None
        self._batches: int | None = None

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def batches(self) -> list[list[int]]:
        """This epoch's batches of all ranks, in order: rank r takes every `world_size`-th, from the r-th."""
        epoch = self.epoch if self.shuffle else 0
        if self._made is None or self._made[0] != epoch:
            self._made = (epoch, self._make(np.random.Generator(np.random.PCG64([self.seed, epoch]))))
        return self._made[1]

    def _make(self, random: np.random.Generator) -> list[list[int]]:
        rows = len(self.lengths)
        order = random.permutation(rows) if self.shuffle else np.arange(rows)
        tokens = np.cumsum(self.lengths[order].sum(axis=1))
        # Pools of equal size, none much smaller than the others: a small one would pad more.
        pools = max(1, round(float(tokens[-1]) / (POOL_BATCHES * self.batch_tokens))) if rows and self.shuffle else 1
        bounds = np.searchsorted(tokens, np.arange(1, pools) * tokens[-1] / pools) if rows else []
        packed = [batch for pool in np.split(order, bounds) for batch in pack(pool, self.lengths, self.batch_tokens)]
        wanted = self._wanted(pools)
        if len(packed) > wanted:
            packed = pack(order, self.lengths, self.batch_tokens)
        while len(packed) < wanted:
            largest = max(range(len(packed)), key=lambda index: len(packed[index]))
            batch = packed.pop(largest)
            packed += [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        cost = [padded_tokens(self.lengths[batch]) for batch in packed]
        packed = [packed[index] for index in np.argsort(cost, kind="stable")[::-1]]
        if not self.shuffle:
            return packed
        # Batches of about equal cost go to the ranks of one step together; the steps come in random order.
        steps = [packed[start : start + self.world_size] for start in range(0, len(packed), self.world_size)]
        return [batch for step in random.permutation(len(steps)) for batch in steps[step]]

    def _wanted(self, pools: int) -> int:
        """Batches of an epoch, a multiple of the ranks and the same in every epoch.

        Transformers 5.23 counts the steps of the first epoch for all: it would pass over what a longer epoch has more,
        and resume in the wrong place after a shorter one.
        """
        if self._batches is None:
            battles = np.arange(len(self.lengths))
            least = len(pack(battles, self.lengths, self.batch_tokens))
            most = len(battles) // self.world_size * self.world_size
            if least > most:
                raise ValueError(
                    f"{len(battles)} battles, each a batch of its own, cannot be dealt evenly to {self.world_size} "
                    "processes; raise batch_tokens"
                )
            # Each pool ends in a batch that is not full.
            self._batches = min(most, -(-(least + pools - 1) // self.world_size) * self.world_size)
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.batches()[self.rank :: self.world_size]

    def __len__(self) -> int:
        return len(self.batches()) // self.world_size


def batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Rows by length, longest first, in batches that cost at most `batch_tokens` with padding, or of one row."""
    rows_of_batch: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True):
        if rows_of_batch and (len(rows_of_batch[-1]) + 1) * lengths[rows_of_batch[-1][0]] <= batch_tokens:
            rows_of_batch[-1].append(row)
        else:
            rows_of_batch.append([row])
    return rows_of_batch


def packs(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Rows in order, in packs of at most `batch_tokens` in all, or of one row."""
    rows_of_batch: list[list[int]] = []
    taken = 0
    for row, length in enumerate(lengths):
        if rows_of_batch and taken + length <= batch_tokens:
            rows_of_batch[-1].append(row)
            taken += length
        else:
            rows_of_batch.append([row])
            taken = length
    return rows_of_batch


def padded(rows: Sequence[Sequence[int]], pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """input_ids and attention_mask, int64 [rows, longest], padded on the right."""
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(real.shape, pad_token_id, dtype=np.int64)
    ids[real] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64))
