"""The Hub's client with a limit on each answer: a server that sends a byte a minute is a lost connection, not a wait.

A read timeout alone starts anew with each byte. Here an answer has `GRACE_SECONDS`, and a second more for each `LEAST_RATE`
bytes that have arrived, so a large download on a slow line is never cut off.

Source: https://www.encode.io/httpcore/network-backends.
"""

import time
from typing import Any

import httpcore2
from huggingface_hub import set_client_factory
from huggingface_hub.utils import _http

GRACE_SECONDS = 120.0
LEAST_RATE = 1000  # bytes a second
SILENCE_SECONDS = 30.0  # without a byte


class _LimitedStream(httpcore2.NetworkStream):
    def __init__(self, stream: Any):
        self.stream = stream
        self.asked: float | None = None  # when the answer that is read was first waited for
        self.received = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        now = time.monotonic()
        self.asked = now if self.asked is None else self.asked
        left = self.asked + GRACE_SECONDS + self.received / LEAST_RATE - now
        if left <= 0:
            raise httpcore2.ReadTimeout("the server sends too slowly")
        content: bytes = self.stream.read(max_bytes, min(timeout or SILENCE_SECONDS, SILENCE_SECONDS, left))
        self.received += len(content)
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.asked, self.received = None, 0
        self.stream.write(buffer, min(timeout or SILENCE_SECONDS, SILENCE_SECONDS))

    def close(self) -> None:
        self.stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
        return _LimitedStream(self.stream.start_tls(ssl_context, server_hostname, timeout or SILENCE_SECONDS))

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class _LimitedBackend(httpcore2.NetworkBackend):
    def __init__(self, backend: Any):
        self.backend = backend

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *rest: Any, **options: Any) -> Any:
        return _LimitedStream(self.backend.connect_tcp(host, port, timeout or SILENCE_SECONDS, *rest, **options))

    def connect_unix_socket(self, path: str, timeout: float | None = None, *rest: Any, **options: Any) -> Any:
        return _LimitedStream(self.backend.connect_unix_socket(path, timeout or SILENCE_SECONDS, *rest, **options))

    def sleep(self, seconds: float) -> None:
        self.backend.sleep(seconds)


def limited_client() -> Any:
    """The client of `huggingface_hub`, proxies of the environment included, with the limit."""
    client = _http.default_client_factory()
    # Given a transport of ours, httpx would no longer read the environment's proxies.
    for transport in {client._transport, *client._mounts.values()}:
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _LimitedBackend(pool._network_backend)
    return client


def limit_hub() -> None:
    """From now on each answer of the Hub has a limit. A client that the program around has set stays as it is."""
    if _http._GLOBAL_CLIENT_FACTORY is _http.default_client_factory:
        set_client_factory(limited_client)
