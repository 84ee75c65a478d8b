"""A server of a tiny run within the test's own process, and a judge that a test can hold up."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi.testclient import TestClient

from reward_model.serve.app import make_app
from reward_model.serve.judge import FloatArray, Judge, Kind, Row
from reward_model.serve.limits import Limits
from reward_model.serve.workers import ThreadWorker

ADDRESS = "http://127.0.0.1:8000"


@contextlib.contextmanager
def serving(judge: Judge, limits: Limits | None = None, **settings: Any) -> Iterator[TestClient]:
    """A client of a server with this judge, whose own errors it would show as status 500."""
    app = make_app([ThreadWorker(judge)], limits, **settings)
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as client:
        yield client


class HeldJudge:
    """A real judge that waits until it may score, and remembers the rows of each call."""

    def __init__(self, judge: Judge):
        self.judge = judge
        self.name, self.has_rewards, self.has_probabilities = judge.name, judge.has_rewards, judge.has_probabilities
        self.set_thresholds = judge.set_thresholds
        self.may_score, self.calls = threading.Event(), list[list[Row]]()
        self.error: Exception | None = None

    def score(self, kind: Kind, rows: Sequence[Row]) -> FloatArray:
        self.calls.append(list(rows))
        assert self.may_score.wait(60)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self.judge.score(kind, rows)
