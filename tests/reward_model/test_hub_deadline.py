"""A server that drips is a lost connection; one that is only slow is not."""

import socket
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from reward_model import hub_deadline

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n"


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, int]]]:
    """Drips its answer, whose first `at_once` bytes come at once."""
    settings = {"at_once": 0}
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(65536)
            answer = HEAD + b"x" * 60
            try:
                connection.sendall(answer[: settings["at_once"]])
                for byte in answer[settings["at_once"] :]:
                    if stopped.wait(0.05):
                        return
                    connection.sendall(bytes([byte]))
            except OSError:
                continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", settings
        stopped.set()


@pytest.mark.parametrize("at_once", [0, len(HEAD) + 5], ids=["head", "body"])
def test_a_drip_ends(server: tuple[str, dict[str, int]], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address, settings = server
    settings["at_once"] = at_once
    monkeypatch.setattr(hub_deadline, "GRACE_SECONDS", 1.0)
    started = time.monotonic()
    with hub_deadline.limited_client() as client, pytest.raises(httpx2.ReadTimeout):
        client.get(address)
    assert 0.9 < time.monotonic() - started < 2.5


def test_a_slow_answer_that_keeps_coming_is_read(
    server: tuple[str, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_deadline, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(hub_deadline, "LEAST_RATE", 5)  # it sends 20 bytes a second
    with hub_deadline.limited_client() as client:
        assert client.get(server[0]).content == b"x" * 60
