"""One bounded queue for all clients, and batches from it: what has come while the last batch was scored is the next batch.

Nothing waits for a batch to fill. Rows of one kind go to the model in one call, so the reader reads a prompt that several
clients sent once, and equal texts once. A request larger than a batch is scored in several; a request is answered whole.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reward_model.errors import ModelError, ScoringError, one_line
from reward_model.serve.judge import FloatArray, Kind, Row
from reward_model.serve.limits import Limits, Refusal
from reward_model.serve.workers import Worker, WorkerDied

RESTART_SECONDS = (1.0, 30.0)  # between two attempts to start a worker again: the first wait, and the longest
# Times a request's time, after which a worker hangs. By then nobody waits for its batch.
HUNG = 2


@dataclass(eq=False)
class Request:
    """Rows of one kind of one client; `scores` is filled from the front.

    Args:
        kind, rows: what to score.
        answer: resolved when all rows are scored, or with an error.
        taken: rows that are given to a worker.
        scores: the batches' scores, in the rows' order, by the first row of each.
    """

    kind: Kind
    rows: Sequence[Row]
    answer: "asyncio.Future[FloatArray]"
    taken: int
    scores: dict[int, FloatArray]

    def note(self, first: int, scores: FloatArray) -> None:
        """Keeps the scores of rows from `first` on; answers when all are there."""
        self.scores[first] = scores
        if not self.answer.done() and sum(map(len, self.scores.values())) == len(self.rows):
            self.answer.set_result(np.concatenate([self.scores[place] for place in sorted(self.scores)]))

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True)
class Part:
    """Rows first to last (not included) of a request."""

    request: Request
    first: int
    last: int

    @property
    def rows(self) -> Sequence[Row]:
        return self.request.rows[self.first : self.last]


class Batcher:
    """The queue, and one task for each worker.

    Args:
        workers: each is ready to score.
        limits: of the queue and of batches.
        on_batch: told the number of rows of each batch that was scored.
        on_death: told why, when a worker has died.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        limits: Limits,
        on_batch: Callable[[int], None] = lambda rows: None,
        on_death: Callable[[str], None] = lambda reason: None,
    ):
        self.workers, self.limits, self.on_batch, self.on_death = workers, limits, on_batch, on_death
        self.queue: deque[Request] = deque()
        self.queued = 0
        self.alive = 0
        self.scoring = 0  # rows that are at a worker
        self.closing = False
        self._arrived = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to score; within a running event loop."""
        self.alive = len(self.workers)
        self._tasks = [asyncio.create_task(self._work(worker)) for worker in self.workers]

    async def close(self) -> None:
        """Answers what was taken, and ends the workers."""
        self.closing = True
        while self.alive and any(not request.answer.done() for request in self.queue):
            await asyncio.wait([request.answer for request in self.queue], timeout=1.0)
            self._forget_answered()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self.workers:
            worker.close()

    async def score(self, kind: Kind, rows: Sequence[Row]) -> FloatArray:
        """Scores of the rows, as `Judge.score`.

        Raises: Refusal with status 429 where the queue is full, 503 where no worker is alive or the worker died, 504 where
        time is up; ScoringError where the rows are to blame.
        """
        if self.closing or not self.alive:
            raise Refusal(503, "the server stops" if self.closing else "the worker is being started again", 5)
        self._forget_answered()
        if self.queued + len(rows) > self.limits.queued:
            raise Refusal(429, f"the queue is full: {self.queued:,} rows wait", 1)
        if not rows:
            raise Refusal(422, "nothing to score; expected at least one row")
        request = Request(kind, rows, asyncio.get_running_loop().create_future(), 0, {})
        self.queue.append(request)
        self.queued += len(rows)
        async with self._arrived:
            self._arrived.notify()
        try:
            return await asyncio.wait_for(request.answer, self.limits.seconds)
        except TimeoutError:
            raise Refusal(504, f"no answer within {self.limits.seconds:g} seconds", 5) from None
        except WorkerDied as error:
            raise Refusal(503, f"{error}; another one is being started", 5) from None
        finally:
            self._forget_answered()

    def _forget_answered(self) -> None:
        """Drops what is answered, and what its client no longer waits for: rows not taken leave the queue's count."""
        self.queue = deque(request for request in self.queue if not request.answer.done())
        self.queued = sum(len(request.rows) - request.taken for request in self.queue)

    async def _next_batch(self) -> list[Part]:
        """Waits for rows; takes up to a batch of one kind, in the order in which they came."""
        async with self._arrived:
            while not (waiting := [r for r in self.queue if r.taken < len(r.rows) and not r.answer.done()]):
                await self._arrived.wait()
        kind, left, batch = waiting[0].kind, self.limits.batch, []
        for request in waiting:
            if request.kind == kind and left:
                first, request.taken = request.taken, min(len(request.rows), request.taken + left)
                batch.append(Part(request, first, request.taken))
                left -= request.taken - first
        self._forget_answered()
        return batch

    async def _work(self, worker: Worker) -> None:
        while True:
            batch = await self._next_batch()
            async with self._arrived:
                self._arrived.notify()  # what is left is for another worker
            try:
                await self._score(worker, batch)
            except Exception as error:  # whatever it was, no client may wait for a task that has ended
                for part in batch:
                    part.request.fail(WorkerDied(one_line(error) or type(error).__name__))
                self.on_death(str(error))
                await self._revive(worker)

    async def _score(self, worker: Worker, batch: Sequence[Part]) -> None:
        """Scores a batch. If it fails, each request alone, so that one client's rows cost no other's. Raises: WorkerDied."""
        rows = [row for part in batch for row in part.rows]
        self.scoring += len(rows)
        try:
            async with asyncio.timeout(HUNG * self.limits.seconds):
                scores = await worker.score(batch[0].request.kind, rows)
        except TimeoutError:
            raise WorkerDied(f"a worker gave no answer within {HUNG * self.limits.seconds:g} seconds") from None
        except ScoringError as error:
            if len(batch) == 1:
                batch[0].request.fail(error)
                return
            for part in batch:
                await self._score(worker, [part])
            return
        finally:
            self.scoring -= len(rows)
        self.on_batch(len(scores))
        start = 0
        for part in batch:
            end = start + part.last - part.first
            part.request.note(part.first, scores[start:end])
            start = end

    async def _revive(self, worker: Worker) -> None:
        """Starts a worker again; tries until it succeeds."""
        self.alive -= 1
        wait, longest = RESTART_SECONDS
        while True:
            try:
                await asyncio.to_thread(worker.restart)
            except (ModelError, OSError, RuntimeError) as error:
                self.on_death(str(error))
                await asyncio.sleep(wait)
                wait = min(2 * wait, longest)
            else:
                self.alive += 1
                return
