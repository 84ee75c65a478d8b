"""Clients that are slow or hang up: what the server's outer layer does before anything is read."""

import asyncio
import json
from typing import Any

import pytest

from reward_model.serve.gate import WholeBody
from reward_model.serve.limits import Limits

PART = {"type": "http.request", "body": b'{"pro', "more_body": True}


def sent(messages: list[Any]) -> tuple[list[Any], list[bytes]]:
    """What a client gets, and the bodies that reach the application."""
    answers: list[Any] = []
    bodies: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append((await receive())["body"])

    async def receive() -> Any:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    layer = WholeBody(app, Limits(body_bytes=20, seconds=0.1))
    asyncio.run(layer({"type": "http", "headers": []}, receive, send))
    return answers, bodies


@pytest.mark.parametrize(("more", "status"), [([], 408), ([PART] * 5, 413)])
def test_a_slow_or_endless_body_is_answered_and_closed(more: list[Any], status: int) -> None:
    answers, bodies = sent([PART, *more])
    assert answers[0]["status"] == status and (b"connection", b"close") in answers[0]["headers"]
    assert json.loads(answers[1]["body"])["error"] and not bodies


def test_who_hangs_up_halfway_gets_nothing() -> None:
    assert sent([PART, {"type": "http.disconnect"}]) == ([], [])


def test_a_whole_body_reaches_the_application() -> None:
    assert sent([PART, {"type": "http.request", "body": b'mpts": 1}'}]) == ([], [b'{"prompts": 1}'])
