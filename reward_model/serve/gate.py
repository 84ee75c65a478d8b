"""What a request passes before it is read: the clock, the log, the key, the size and the speed of its body.

Each is a layer of ASGI. The log has a line of JSON a request, without any text of a client: not even an unknown path.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html.
"""

import asyncio
import base64
import binascii
import hmac
import json
import logging
import time
from typing import Any

from reward_model.serve.limits import Limits
from reward_model.serve.metrics import ROWS, Metrics

LOG = logging.getLogger("reward_model.serve")
OPEN = ("/health", "/ready")  # what a load balancer asks without a key


class Observed:
    """Counts each request and writes its line: route, status, rows, milliseconds."""

    def __init__(self, app: Any, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        rows: list[int] = []
        token = ROWS.set(rows)

        async def note(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            ROWS.reset(token)
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.note_request(route, status, seconds)
            line = {"time": round(time.time(), 3), "route": route, "status": status}
            LOG.info(json.dumps({**line, "rows": sum(rows), "ms": round(1000 * seconds, 1)}))


class WithKey:
    """Answers 401 without the key: `Authorization: Bearer KEY`, or the password of a URL (`http://any:KEY@host`)."""

    def __init__(self, app: Any, key: str):
        self.app, self.key = app, key.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN and not self.admits(scope["headers"]):
            await answer(send, 401, "the API key is missing or wrong", ((b"www-authenticate", b"Bearer"),))
        else:
            await self.app(scope, receive, send)

    def admits(self, headers: Any) -> bool:
        """Whether there is one Authorization with the key; the time that it takes tells nothing of the key."""
        given = [value for name, value in headers if name.lower() == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, credentials = given[0].partition(b" ")
        if scheme.lower() == b"basic":
            try:
                credentials = base64.b64decode(credentials, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(credentials.strip(), self.key)


class WholeBody:
    """Reads a body before anything else does: answers 413 where it is too large, 408 where it comes too slowly."""

    def __init__(self, app: Any, limits: Limits):
        self.app, self.limits = app, limits

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.limits.body_bytes
        too_long = f"the body is too large; at most {most:,} bytes are taken"
        declared = next((value for name, value in scope["headers"] if name.lower() == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > most:
            await answer(send, 413, too_long, ((b"connection", b"close"),))
            return
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return  # a client that has hung up halfway gets no answer
                    body += message.get("body", b"")
                    if len(body) > most:
                        await answer(send, 413, too_long, ((b"connection", b"close"),))
                        return
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            await answer(send, 408, "the body came too slowly", ((b"connection", b"close"),))
            return
        messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Any:
            return messages.pop() if messages else await receive()

        await self.app(scope, replay, send)


async def answer(send: Any, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """An error as one line of JSON."""
    body = json.dumps({"error": message}).encode()
    length = (b"content-length", str(len(body)).encode())
    all_headers = [(b"content-type", b"application/json"), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})
