"""Only requests that were meant for the server reach the page behind it."""

import pytest

from reward_model.publish.own_hosts import LOOPBACK, OwnHostsOnly

GUARD = OwnHostsOnly(None, {*LOOPBACK, "space.example"})
OPEN = OwnHostsOnly(None, LOOPBACK, any_address=True)


def headers(host: str | None, origin: str | None = None) -> list[tuple[bytes, bytes]]:
    pairs = [(b"host", host), (b"Origin", origin)]
    return [(name, value.encode()) for name, value in pairs if value is not None]


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "Space.example"])
def test_own_names_are_admitted(host: str) -> None:
    assert GUARD.admits(headers(host)) and GUARD.admits(headers(host, f"http://{host}"))


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "192.168.0.7:7860", "[", None])
def test_other_hosts_are_refused(host: str | None) -> None:
    assert not GUARD.admits(headers(host))


def test_other_origins_are_refused() -> None:
    for origin in ("http://evil.example", "null", "http://localhost:3000", "http://localhost:7860.evil.example"):
        assert not GUARD.admits(headers("localhost:7860", origin))
    assert not GUARD.admits([*headers("localhost"), *headers("evil.example")])


def test_an_open_server_is_reached_by_address_but_not_by_a_foreign_name() -> None:
    assert OPEN.admits(headers("192.168.0.7:7860", "http://192.168.0.7:7860"))
    assert not OPEN.admits(headers("rebound.evil.example:7860", "http://rebound.evil.example:7860"))
