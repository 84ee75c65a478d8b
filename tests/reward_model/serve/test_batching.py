"""The queue: batches across clients, its bounds, and what happens when scoring fails or takes too long."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from reward_model.errors import ModelError
from reward_model.serve import batching
from reward_model.serve.batching import Batcher
from reward_model.serve.judge import ModelJudge, Row
from reward_model.serve.limits import Limits, Refusal
from reward_model.serve.workers import ThreadWorker
from tests.helpers.served import HeldJudge


def run(judge: Any, limits: Limits, act: Callable[[Batcher], Awaitable[None]]) -> None:
    """Acts on a batcher, which is closed afterwards."""

    async def whole() -> None:
        batcher = Batcher([ThreadWorker(judge)], limits)
        batcher.start()
        try:
            async with asyncio.timeout(60):
                await act(batcher)
        finally:
            await batcher.close()

    asyncio.run(whole())


def rows_of(*texts: str) -> list[Row]:
    return [Row("Say it.", text, text) for text in texts]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_what_comes_while_a_batch_is_scored_is_the_next_batch(judge: ModelJudge) -> None:
    held = HeldJudge(judge)

    async def act(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.score("reward", rows_of("one")))
        await until(lambda: len(held.calls) == 1)
        clients = [asyncio.create_task(batcher.score("reward", rows_of(f"a{n}", f"b{n}"))) for n in range(5)]
        battle = asyncio.create_task(batcher.score("battle", [Row("Say it.", "one", "two")]))
        await until(lambda: batcher.queued == 11)
        held.may_score.set()
        answers = await asyncio.gather(first, battle, *clients)
        assert [len(call) for call in held.calls] == [1, 8, 2, 1]  # 8 rows are a batch; kinds are not mixed
        for client, scores in enumerate(answers[2:]):
            expected = judge.model.reward(["Say it."] * 2, [f"a{client}", f"b{client}"])
            np.testing.assert_allclose(scores[:, 0], expected, atol=1e-5)
        np.testing.assert_allclose(answers[1], judge.model.compare(["Say it."], ["one"], ["two"]), atol=1e-5)

    run(held, Limits(batch=8), act)


def test_a_full_queue_refuses_and_what_it_took_is_answered_at_the_end(judge: ModelJudge) -> None:
    held = HeldJudge(judge)
    taken: list[asyncio.Task[Any]] = []

    async def act(batcher: Batcher) -> None:
        taken.append(asyncio.create_task(batcher.score("reward", rows_of("one"))))
        await until(lambda: len(held.calls) == 1)
        taken.append(asyncio.create_task(batcher.score("reward", rows_of("two", "three"))))
        await until(lambda: batcher.queued == 2)
        with pytest.raises(Refusal, match="queue is full: 2 rows") as refusal:
            await batcher.score("reward", rows_of("four", "five"))
        assert refusal.value.status == 429 and refusal.value.retry_after
        held.may_score.set()  # and the server is stopped at once

    run(held, Limits(queued=3), act)
    assert [len(task.result()) for task in taken] == [1, 2]


def test_time_that_is_up_frees_the_queue(judge: ModelJudge) -> None:
    held = HeldJudge(judge)

    async def act(batcher: Batcher) -> None:
        scored = asyncio.create_task(batcher.score("reward", rows_of("one")))
        await until(lambda: len(held.calls) == 1)
        with pytest.raises(Refusal, match="no answer within") as refusal:
            await batcher.score("reward", rows_of("two", "three"))
        assert refusal.value.status == 504 and batcher.queued == 0
        with pytest.raises(Refusal):
            await scored
        held.may_score.set()
        assert len(await batcher.score("reward", rows_of("four"))) == 1
        assert "two" not in [row.a for call in held.calls for row in call]  # nobody waited for it any more

    run(held, Limits(seconds=0.3), act)


def test_a_worker_that_dies_is_a_503_and_comes_back(judge: ModelJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "RESTART_SECONDS", (0.01, 0.01))
    held = HeldJudge(judge)
    held.error = ModelError("the GPU stopped")

    async def act(batcher: Batcher) -> None:
        held.may_score.set()
        with pytest.raises(Refusal, match="the GPU stopped; another one is being started") as refusal:
            await batcher.score("reward", rows_of("one"))
        assert refusal.value.status == 503 and refusal.value.retry_after
        await until(lambda: batcher.alive == 1)
        assert len(await batcher.score("reward", rows_of("one"))) == 1

    run(held, Limits(), act)


def test_a_worker_that_hangs_is_started_again(judge: ModelJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "RESTART_SECONDS", (0.01, 0.01))
    held = HeldJudge(judge)
    deaths: list[str] = []

    async def act(batcher: Batcher) -> None:
        batcher.on_death = deaths.append
        with pytest.raises(Refusal) as refusal:
            await batcher.score("reward", rows_of("one"))
        assert refusal.value.status == 504
        await until(lambda: bool(deaths))
        held.may_score.set()
        await until(lambda: batcher.alive == 1)
        assert len(await batcher.score("reward", rows_of("one"))) == 1

    run(held, Limits(seconds=0.5), act)
    assert deaths == ["a worker gave no answer within 1 seconds"]


def test_one_clients_rows_cost_no_other_client(judge: ModelJudge) -> None:
    class Choosy(HeldJudge):
        def score(self, kind: Any, rows: Any) -> Any:
            scores = super().score(kind, rows)
            if any(row.a == "bad" for row in rows):
                raise RuntimeError("this text broke the tokenizer")
            return scores

    held = Choosy(judge)

    async def act(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.score("reward", rows_of("one")))
        await until(lambda: len(held.calls) == 1)
        bad, good = (asyncio.create_task(batcher.score("reward", rows_of(text))) for text in ("bad", "good"))
        await until(lambda: batcher.queued == 2)
        held.may_score.set()
        assert len(await first) == len(await good) == 1
        with pytest.raises(ModelError, match="broke the tokenizer"):
            await bad

    run(held, Limits(), act)


def test_a_request_larger_than_a_batch_is_answered_whole(judge: ModelJudge) -> None:
    async def act(batcher: Batcher) -> None:
        texts = [f"text {place}" for place in range(10)]
        scores = await batcher.score("reward", rows_of(*texts))
        np.testing.assert_allclose(scores[:, 0], judge.model.reward(["Say it."] * 10, texts), atol=1e-5)

    run(judge, Limits(batch=4), act)
