"""Where scores are computed: a thread of this process, or a process of its own for each device.

A process that dies, whoever killed it, takes only the rows with it that it was scoring. Another one replaces it.

Source: https://docs.python.org/3/library/concurrent.futures.html#processpoolexecutor.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TYPE_CHECKING, NamedTuple, Protocol

from arena_data.errors import InputError
from reward_model.errors import ModelError, ScoringError, one_line
from reward_model.serve.judge import FloatArray, Judge, Kind, Row, open_served

if TYPE_CHECKING:
    from reward_model.predict.member import MemberOptions


class Served(NamedTuple):
    """What clients may know of a judge."""

    name: str
    has_rewards: bool
    has_probabilities: bool
    set_thresholds: Mapping[str, float]

    @classmethod
    def of(cls, judge: Judge) -> "Served":
        return cls(judge.name, judge.has_rewards, judge.has_probabilities, judge.set_thresholds)


class WorkerDied(Exception):
    """A worker ended, or its device can compute nothing more, before it had scored."""


class Worker(Protocol):
    """Scores batches, one at a time."""

    served: Served

    async def score(self, kind: Kind, rows: Sequence[Row]) -> FloatArray:
        """As `Judge.score`. Raises: WorkerDied; ScoringError where this batch is to blame."""
        ...

    def restart(self) -> None:
        """Ends what still runs, and starts again. Raises: ModelError or InputError, one line."""
        ...

    def close(self) -> None:
        """Ends the worker."""
        ...


class ThreadWorker:
    """Scores in a thread of this process: for one model within a program."""

    def __init__(self, judge: Judge):
        self.judge = judge
        self.served = Served.of(judge)
        self.executor: Executor = ThreadPoolExecutor(1, thread_name_prefix="scoring")

    async def score(self, kind: Kind, rows: Sequence[Row]) -> FloatArray:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.executor, self.judge.score, kind, rows)
        except ScoringError:
            raise
        except ModelError as error:
            raise WorkerDied(one_line(error)) from error
        except Exception as error:
            raise ScoringError(one_line(error) or type(error).__name__) from error

    def restart(self) -> None:
        """Nothing: a thread does not die alone."""

    def close(self) -> None:
        self.executor.shutdown(cancel_futures=True)


class ProcessWorker:
    """Scores in a process of its own, which loads the model.

    Args:
        path, options: as `open_served` takes them.

    Raises: ModelError, one line, for a model that cannot be loaded.
    """

    def __init__(self, path: str, options: "MemberOptions"):
        self.path, self.options = path, options
        self.executor, self.served, self.pid = self._start()

    def _start(self) -> tuple[ProcessPoolExecutor, Served, int]:
        served: Served | str
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(1, mp_context=context, initializer=_follow_parent)
        try:
            pid = executor.submit(os.getpid).result()
            served = executor.submit(_load, self.path, self.options).result()
        except BrokenProcessPool:
            served = "the worker ended while it loaded the model; is there enough memory?"
        if isinstance(served, str):
            executor.shutdown(cancel_futures=True)
            raise ModelError(served)
        return executor, served, pid

    async def score(self, kind: Kind, rows: Sequence[Row]) -> FloatArray:
        loop = asyncio.get_running_loop()
        try:
            scores = await loop.run_in_executor(self.executor, _score, kind, rows)
        except (BrokenProcessPool, RuntimeError) as error:
            raise WorkerDied("the worker process ended") from error
        if isinstance(scores, _Failed):
            raise (WorkerDied if scores.is_final else ScoringError)(scores.message)
        return scores

    def restart(self) -> None:
        for process in multiprocessing.active_children():
            if process.pid == self.pid:
                process.kill()  # it hangs, and would not end by itself
        self.close()
        self.executor, self.served, self.pid = self._start()

    def close(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)


class _Failed(NamedTuple):
    """An error as text: exceptions with arguments of their own do not survive the way between processes."""

    message: str
    is_final: bool


# Of a worker process.
_judge: Judge | None = None


def _follow_parent() -> None:
    """Leaves Ctrl-C to the parent, and ends when the parent has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _load(path: str, options: "MemberOptions") -> Served | str:
    """Loads the model; an error as its text."""
    global _judge
    try:
        judge = open_served(path, options)
    except (InputError, ModelError, ImportError, OSError, ValueError) as error:
        return one_line(error)
    _judge = judge
    return Served.of(judge)


def _score(kind: Kind, rows: Sequence[Row]) -> FloatArray | _Failed:
    assert _judge is not None
    try:
        return _judge.score(kind, rows)
    except ModelError as error:
        return _Failed(one_line(error), not isinstance(error, ScoringError))
    except Exception as error:
        return _Failed(one_line(error) or type(error).__name__, False)
