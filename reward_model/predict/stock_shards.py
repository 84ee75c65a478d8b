"""The shards of a stock model's texts: each is kept as it finishes, any process may take it over, all end in time.

As `reward_model.predict.shard_loop` does for runs. Here a shard is encoded by the stock tokenizer, and where time gets short
the tokenizer cuts its texts further.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from reward_model.predict.shard_loop import ShardWork
from reward_model.predict.shard_store import ShardScores
from reward_model.predict.stock_rewards import StockScorer

LEAST_TOKENS, MOST_TOKENS = 32, 1 << 20  # of a conversation, where time gets short and where a model has no limit


@dataclass(frozen=True, kw_only=True)
class StockShards(ShardWork):
    """What scoring shards of a stock model takes.

    Args:
        scorer: makes the scorer; called only where something is left to score.
    """

    scorer: Callable[[], StockScorer]

    def run(self, own: Iterable[int], others: Iterable[int] = ()) -> dict[int, ShardScores]:
        """Scores of the shards of these numbers.

        Args:
            own: shards of this process.
            others: shards that other processes begin with; what they have not finished is taken over, the last ones first.
        """
        scored: dict[int, ShardScores] = {}
        with tqdm(total=len(self.sequences), desc="Rewards", unit="text", disable=not self.progress) as bar:
            for numbers in (list(own), list(others)[::-1]):
                while numbers:
                    scored[numbers[0]] = self._whole(numbers[0]) or self._score(numbers)
                    bar.update(len(self.shards[numbers.pop(0)]))
        return scored

    def _whole(self, number: int) -> ShardScores | None:
        """As `stored`, but nothing with failed rows."""
        scores = self.stored(number)
        return scores if scores is not None and np.isfinite(scores.values).all() else None

    def _score(self, numbers: Sequence[int]) -> ShardScores:
        """Scores the first of the shards, with its share of the time that is left for all of them."""
        shard = self.shards[numbers[0]]
        values, cut = np.full((len(shard), 2), np.nan, dtype=np.float32), np.zeros(len(shard), dtype=np.int64)
        shortened = np.zeros(len(shard), dtype=bool)
        if not self.deadline.is_over:
            scorer = self.scorer()
            started, most = self.deadline.clock(), scorer.max_length or MOST_TOKENS
            sizes = self.sequences.size[np.concatenate([self.shards[number] for number in numbers])]
            length = self.deadline.max_length(sizes, min(LEAST_TOKENS, most), most)
            texts = self.sequences.texts(self.battles, shard)
            prompts, responses = [prompt for prompt, *_ in texts], [first for _, first, _ in texts]
            inputs, cut = scorer.encode(prompts, responses, length)
            values[:] = scorer.score(inputs, self.check)[:, None]
            shortened = (cut > 0) & (length < most)
            tokens = sum(len(row["input_ids"]) for row in inputs)
            self.deadline.note(
                self.deadline.clock() - started, tokens, tokens + int(cut.sum()), int(self.sequences.size[shard].sum())
            )
        scores = ShardScores(values, cut, shortened)
        if self.store is not None:
            self.store.write(numbers[0], scores)
        return scores
