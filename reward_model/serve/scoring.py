"""What all protocols ask: rewards of responses, probabilities of battles, within the limits of a request."""

from collections.abc import Iterator, Sequence

import numpy as np

from arena_data.reading.in_memory import Text
from reward_model.errors import ScoringError, one_line
from reward_model.serve.batching import Batcher
from reward_model.serve.judge import FloatArray, Kind, Row
from reward_model.serve.limits import Limits, Refusal, bad_request, too_large
from reward_model.serve.metrics import ROWS
from reward_model.serve.workers import Served


class Scoring:
    """The judge as protocols see it.

    Args:
        batcher: the queue.
        served: what the judge can do.
        limits: of a request.
    """

    def __init__(self, batcher: Batcher, served: Served, limits: Limits):
        self.batcher, self.served, self.limits = batcher, served, limits

    async def rewards(self, pairs: Sequence[tuple[Text, Text]]) -> list[float]:
        """The reward of each (prompt, response). Raises: Refusal."""
        if not self.served.has_rewards:
            raise bad_request("this judge has no reward of one response; use /v1/compare or /v1/battles")
        scores = await self._scores("reward", [Row(prompt, response, response) for prompt, response in pairs])
        return [float(reward) for reward in scores[:, 0]]

    async def probabilities(self, rows: Sequence[Row]) -> list[tuple[float, float, float]]:
        """P(A), P(B), P(tie) of each battle. Raises: Refusal."""
        if not self.served.has_probabilities:
            raise bad_request("this judge has rewards only; arena-reward calibrate gives it probabilities")
        scores = await self._scores("battle", rows)
        return [(float(a), float(b), float(tie)) for a, b, tie in scores]

    def set_threshold(self, coverage: float) -> float:
        """The least probability of a label in a verdict set. Raises: Refusal where the judge keeps none."""
        kept = self.served.set_thresholds
        if not kept:
            raise bad_request("this judge keeps no thresholds for coverage; arena-reward calibrate fits them")
        percent = 100 * coverage
        if str(round(percent)) not in kept or abs(percent - round(percent)) > 1e-6:
            raise bad_request(f"coverage {coverage:g}; expected whole percents from {min(kept)} % to {max(kept)} %")
        return kept[str(round(percent))]

    async def _scores(self, kind: Kind, rows: Sequence[Row]) -> FloatArray:
        self._check(rows)
        ROWS.get([]).append(len(rows))
        try:
            scores = await self.batcher.score(kind, rows)
        except ScoringError as error:
            raise Refusal(500, f"scoring failed: {one_line(error)}") from error
        failed = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(failed):
            raise bad_request(
                f"text {failed[0]} (counted from 0) cannot be scored; {len(failed)} of {len(rows)} failed"
            )
        return scores

    def _check(self, rows: Sequence[Row]) -> None:
        if not rows:
            raise bad_request("nothing to score; expected at least one")
        if len(rows) > self.limits.rows:
            raise too_large("too many texts in a request", len(rows), self.limits.rows)
        longest = max(sum(map(len, _turns(text))) for row in rows for text in row)
        if longest > self.limits.characters:
            raise too_large("a text has too many characters", longest, self.limits.characters)


def _turns(text: Text) -> Iterator[str]:
    yield from [text] if isinstance(text, str) else (turn for turn in text if turn)
