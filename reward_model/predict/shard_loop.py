"""The loop over shards: the next one is tokenised in a thread while this one is scored; each is kept as it finishes."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from reward_model.predict.deadline import Deadline
from reward_model.predict.scorer import Scorer
from reward_model.predict.shard_store import ShardScores, ShardStore
from reward_model.tokens.bounded_templates import TemplateLimitError
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.sequences import IntArray, Sequences

SHARD_SEQUENCES = 256
WAIT_SECONDS = 0.1


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


@dataclass(frozen=True, kw_only=True)
class ShardWork:
    """What is scored, whoever scores it.

    Args:
        battles, sequences, shards: the work; a shard is int64 [m] of sequences.
        store: where finished shards are kept; nowhere if None.
        deadline: shortens texts when time gets short.
        progress: whether to show a bar.
        check: called before each batch, if given; what it raises ends the loop.
    """

    battles: datasets.Dataset
    sequences: Sequences
    shards: list[IntArray]
    store: ShardStore | None
    deadline: Deadline
    progress: bool = False
    check: Callable[[], None] | None = None

    def stored(self, number: int) -> ShardScores | None:
        """What the store has of a shard; nothing that an earlier run with a time limit has read shorter than asked now."""
        scores = self.store.read(number, len(self.shards[number])) if self.store else None
        hurried = scores is not None and self.deadline.ends is None and scores.shortened.any()
        return None if hurried else scores


@dataclass(frozen=True, kw_only=True)
class ShardLoop(ShardWork):
    """What scoring shards of a run takes.

    Args:
        encoder: at the run's max_length.
        scorer: makes the scorer; called once, and only where something is left to score.
    """

    encoder: BattleEncoder
    scorer: Callable[[], Scorer]

    def run(self, own: Iterable[int], others: Iterable[int] = ()) -> dict[int, ShardScores]:
        """Scores of the shards of these numbers.

        Args:
            own: shards of this process. One in the store is scored again only where rows of it failed.
            others: shards that other processes begin with. When its own are done, this process takes over what they have
                not finished, the last ones first. So it never waits for a process that is slow, stopped or dead.
        """
        own, others = list(own), list(others)
        stored = {number: scores for number in own if (scores := self.stored(number)) is not None}
        scored = {number: scores for number, scores in stored.items() if np.isfinite(scores.values).all()}
        queue = Queue(self, [number for number in own if number not in scored], others[::-1], scored)
        with self._bar() as bar, ThreadPoolExecutor(1) as thread:
            self._show(bar, [*own, *others], scored)
            ahead: dict[int, Future[Encoded]] = {}
            while (number := queue.take()) is not None:
                scorer, length = self.scorer(), self._affordable_length([number, *queue.left()])
                # One thread tokenises everything: a tokenizer may not be used by two.
                encoded = (ahead.get(number) or thread.submit(self._encode, number, length)).result()
                if length < max(map(len, filter(None, encoded.ids)), default=0):
                    # It was tokenised when time seemed to suffice.
                    encoded = thread.submit(self._encode, number, length).result()
                if (following := queue.following()) is not None:
                    ahead = {following: thread.submit(self._encode, following, length)}
                scored[number] = self._score(scorer, number, encoded)
                self._show(bar, [*own, *others], scored)
        return scored

    def awaited(self, numbers: Iterable[int]) -> dict[int, ShardScores]:
        """Scores of shards that other processes score, as soon as they are in the store.

        It ends, because the main process takes over what nobody else finishes.

        Raises: WorkRemoved where the main process has ended meanwhile.
        """
        assert self.store is not None, "several processes share a store"
        missing = set(numbers)
        scored: dict[int, ShardScores] = {}
        while missing:
            ready = {number: scores for number in missing if (scores := self.stored(number)) is not None}
            scored |= ready
            missing -= ready.keys()
            if missing:
                self.store.check_shared()
                time.sleep(WAIT_SECONDS)
        return scored

    def _score(self, scorer: Scorer, number: int, encoded: Encoded) -> ShardScores:
        values = np.full((len(encoded.ids), 2), np.nan, dtype=np.float32)
        whole = [row for row, tokens in enumerate(encoded.ids) if tokens is not None]
        if not self.deadline.is_over:
            started = self.deadline.clock()
            rows = [tokens for tokens in encoded.ids if tokens is not None]
            values[whole] = scorer.score(rows) if self.check is None else scorer.score(rows, self.check)
            tokens = sum(map(len, rows))
            size = int(self.sequences.size[self.shards[number]].sum())
            self.deadline.note(self.deadline.clock() - started, tokens, tokens + sum(encoded.cut), size)
        cut = np.asarray(encoded.cut, dtype=np.int64)
        scores = ShardScores(values, cut, (cut > 0) & (encoded.max_length < self.encoder.max_length))
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
        except TemplateLimitError:  # each row could take as long
            raise
        except Exception:  # one row must not cost the others
            return _encode_each(encoder, rows)

    def _bar(self) -> Any:
        shown = "{l_bar}{bar}| {n:.0f}/{total} [{elapsed}<{remaining}, {rate_fmt}]"
        total = len(self.sequences.of_battle)
        return tqdm(total=total, desc="Scoring", unit="battle", disable=not self.progress, bar_format=shown)

    def _show(self, bar: Any, numbers: Sequence[int], scored: dict[int, ShardScores]) -> None:
        """Counts battles, by the share of text that is done, here or by another process."""
        if not self.progress or not numbers:
            return
        cost = np.minimum(self.sequences.size, self.encoder.max_length * 4)
        work = {number: float(cost[self.shards[number]].sum()) for number in numbers}
        done = sum(work[n] for n in numbers if n in scored or (self.store is not None and self.store.has(n)))
        bar.update(done / max(sum(work.values()), 1e-9) * len(self.sequences.of_battle) - bar.n)


@dataclass
class Queue:
    """The shards that a process still has to score: its own first, then those that others have not finished.

    Args:
        loop: knows the store.
        own, others: numbers of shards, in the order in which they are scored.
        scored: what is scored; what others have finished is added.
        takes_over: whether the number taken last is one that another process began with.
    """

    loop: ShardLoop
    own: list[int]
    others: list[int]
    scored: dict[int, ShardScores]
    takes_over: bool = False

    def take(self) -> int | None:
        """Takes the next number out of the queue; None when all shards are scored."""
        if self.own:
            return self.own.pop(0)
        self.takes_over = True
        while self.others:
            number = self.others.pop(0)
            if (scores := self.loop.stored(number)) is None:
                return number
            self.scored[number] = scores
        return None

    def following(self) -> int | None:
        """The number that `take` gives next, unless another process finishes it before."""
        return next(iter(self.own or self._unfinished()), None)

    def left(self) -> list[int]:
        """The numbers that share the time that is left: own shards, and then all that others have not finished."""
        return self._unfinished() if self.takes_over else list(self.own)

    def _unfinished(self) -> list[int]:
        store = self.loop.store
        return [number for number in self.others if store is None or not store.has(number)]


def _encode_each(encoder: BattleEncoder, rows: Sequence[Any]) -> Encoded:
    ids: list[list[int] | None] = []
    cut: list[int] = []
    for row in rows:
        try:
            [tokens], [lost] = encoder.encode_rows([row])
        except TemplateLimitError:
            raise
        except Exception:
            tokens, lost = None, 0
        ids.append(tokens)
        cut.append(lost)
    return Encoded(ids, cut, encoder.max_length)


def joined(
    sequences: Sequences, shards: Sequence[IntArray], scored: dict[int, ShardScores]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Scores of the n battles' sequences; NaN for shards that are not among `scored`.

    Returns: values float32 [n, rows, 2]; bool [n], whether any text was cut; bool [n], whether for want of time.
    """
    values = np.full((len(sequences), 2), np.nan, dtype=np.float32)
    cut, shortened = np.zeros((2, len(sequences)), dtype=bool)
    for number, scores in scored.items():
        shard = shards[number]
        values[shard], cut[shard], shortened[shard] = scores.values, scores.cut > 0, scores.shortened
    of_battle = sequences.of_battle
    return values[of_battle], np.asarray(cut[of_battle].any(axis=1)), np.asarray(shortened[of_battle].any(axis=1))
