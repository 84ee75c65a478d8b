"""The loop over shards: the next one is tokenised in a thread while this one is scored; each is kept as it finishes."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from reward_model.predict.deadline import Deadline
from reward_model.predict.scorer import Scorer
from reward_model.predict.shard_store import ShardScores, ShardStore
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.sequences import IntArray, Sequences

SHARD_SEQUENCES = 256


@dataclass(frozen=True)
class Encoded:
    """A shard's token ids, None where the tokenizer fails, tokens cut of each row, and the max_length they are cut to."""

    ids: list[list[int] | None]
    cut: list[int]
    max_length: int


def plan_shards(sequences: Sequences) -> list[IntArray]:
    """All sequences, those of a prompt together, longest prompts and answers first.

    So memory runs out early or not at all, the time left is never underestimated, and what sequences begin with alike can
    be read once.
    """
    longest = np.zeros(len(sequences), dtype=np.int64)
    np.maximum.at(longest, sequences.prompt, sequences.size)
    order = np.lexsort((-sequences.size, sequences.prompt, -longest[sequences.prompt]))
    return np.split(order, range(SHARD_SEQUENCES, len(order), SHARD_SEQUENCES)) if len(order) else []


@dataclass(frozen=True)
class ShardLoop:
    """What scoring shards takes.

    Args:
        battles, sequences, shards: the work; a shard is int64 [m] of sequences.
        encoder: at the run's max_length.
        scorer: makes the scorer; called once, and only where something is left to score.
        store: where finished shards are kept; nowhere if None.
        deadline: shortens texts when time gets short.
        progress: whether to show a bar.
    """

    battles: datasets.Dataset
    sequences: Sequences
    shards: list[IntArray]
    encoder: BattleEncoder
    scorer: Callable[[], Scorer]
    store: ShardStore | None
    deadline: Deadline
    progress: bool = False

    def stored(self, number: int) -> ShardScores | None:
        return self.store.read(number, len(self.shards[number])) if self.store else None

    def run(self, numbers: Iterable[int]) -> dict[int, ShardScores]:
        """Scores of the shards of these numbers; those in the store are read, and scored again only where rows failed."""
        wanted = list(numbers)
        stored = {number: scores for number in wanted if (scores := self.stored(number)) is not None}
        found = {number: scores for number, scores in stored.items() if np.isfinite(scores.values).all()}
        left = [number for number in wanted if number not in found]
        if not left:
            return found
        scorer = self.scorer()
        cost = np.minimum(self.sequences.size, self.encoder.max_length * 4)
        work = {number: float(cost[self.shards[number]].sum()) for number in wanted}
        with self._bar(work, found) as bar, ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(self._encode, left[0], self.encoder.max_length)
            for place, number in enumerate(left):
                encoded, length = ahead.result(), self._affordable_length(left[place:])
                if length < max(map(len, filter(None, encoded.ids)), default=0):
                    encoded = self._encode(number, length)  # it was made when time seemed to suffice
                if place + 1 < len(left):
                    ahead = thread.submit(self._encode, left[place + 1], length)
                found[number] = self._score(scorer, number, encoded)
                bar.update(work[number] / max(sum(work.values()), 1e-9) * len(self.sequences.of_battle))
        return found

    def _score(self, scorer: Scorer, number: int, encoded: Encoded) -> ShardScores:
        values = np.full((len(encoded.ids), 2), np.nan, dtype=np.float32)
        whole = [row for row, tokens in enumerate(encoded.ids) if tokens is not None]
        if not self.deadline.is_over:
            started = self.deadline.clock()
            rows = [tokens for tokens in encoded.ids if tokens is not None]
            values[whole] = scorer.score(rows)
            tokens = sum(map(len, rows))
            size = int(self.sequences.size[self.shards[number]].sum())
            self.deadline.note(self.deadline.clock() - started, tokens, tokens + sum(encoded.cut), size)
        shortened = (np.asarray(encoded.cut) > 0) & (encoded.max_length < self.encoder.max_length)
        scores = ShardScores(values, shortened)
        if self.store is not None:
            self.store.write(number, scores)
        return scores

    def _affordable_length(self, numbers: Sequence[int]) -> int:
        most = self.encoder.max_length
        if self.deadline.ends is None:
            return most
        sizes = self.sequences.size[np.concatenate([self.shards[number] for number in numbers])]
        return self.deadline.max_length(sizes, self.encoder.least_max_length, most)

    def _encode(self, number: int, length: int) -> Encoded:
        encoder = self.encoder
        if length < encoder.max_length:
            encoder = BattleEncoder(encoder.tokenizer, length, encoder.encoding)
        rows = self.sequences.texts(self.battles, self.shards[number])
        try:
            ids, cut = encoder.encode_rows(rows)
            return Encoded(list(ids), cut, length)
        except Exception:  # one row must not cost the others
            return _encode_each(encoder, rows)

    def _bar(self, work: dict[int, float], found: dict[int, ShardScores]) -> Any:
        """Counts battles, by the share of text that is done."""
        total = len(self.sequences.of_battle)
        done = sum(work[number] for number in found) / max(sum(work.values()), 1e-9) * total
        shown = "{l_bar}{bar}| {n:.0f}/{total} [{elapsed}<{remaining}, {rate_fmt}]"
        return tqdm(
            total=total, initial=done, desc="Scoring", unit="battle", disable=not self.progress, bar_format=shown
        )


def _encode_each(encoder: BattleEncoder, rows: Sequence[Any]) -> Encoded:
    ids: list[list[int] | None] = []
    cut: list[int] = []
    for row in rows:
        try:
            [tokens], [lost] = encoder.encode_rows([row])
        except Exception:
            tokens, lost = None, 0
        ids.append(tokens)
        cut.append(lost)
    return Encoded(ids, cut, encoder.max_length)


def wait_for(loop: ShardLoop, numbers: Iterable[int], others_work: Callable[[], bool]) -> dict[int, ShardScores]:
    """The shards that other processes score; what they leave behind when they end is scored here."""
    found: dict[int, ShardScores] = {}
    left = list(numbers)
    while left:
        still_at_it = others_work()
        for number in left:
            if (scores := loop.stored(number)) is not None:
                found[number] = scores
        left = [number for number in left if number not in found]
        if left and not still_at_it:
            return found | loop.run(left)
        if left:
            time.sleep(0.1)
    return found


def joined(
    sequences: Sequences, shards: Sequence[IntArray], found: dict[int, ShardScores]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Values float32 [n, rows, 2] of the n battles' sequences, and bool [n], whether any of them was shortened."""
    values = np.full((len(sequences), 2), np.nan, dtype=np.float32)
    shortened = np.zeros(len(sequences), dtype=bool)
    for number, shard in enumerate(shards):
        values[shard], shortened[shard] = found[number].values, found[number].shortened
    return values[sequences.of_battle], np.asarray(shortened[sequences.of_battle].any(axis=1))
