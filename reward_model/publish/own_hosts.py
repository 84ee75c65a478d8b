"""Lets only requests through that were meant for this server: a guard for pages that listen on a person's own machine.

Any page in a browser may send requests to a local address, and a name of its own may come to mean that address (DNS
rebinding). Such a request names a foreign host, in its Host or its Origin. An address in numbers cannot be rebound.

Source: https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Origin; ASGI, https://asgi.readthedocs.io.
"""

import ipaddress
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class OwnHostsOnly:
    """ASGI middleware that answers 403 to a request for another host, or sent by a page of another origin.

    Args:
        app: what is guarded.
        hosts: names that this server goes by; a request may also name any address in numbers if `any_address`.
        any_address: for a server that other machines may reach.
    """

    def __init__(self, app: Any, hosts: Collection[str], any_address: bool = False):
        self.app, self.hosts, self.any_address = app, {host.lower() for host in hosts}, any_address

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket") or self.admits(scope["headers"]):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send(
                {"type": "http.response.body", "body": b"This page answers to its own name only; see --allowed_hosts."}
            )

    def admits(self, headers: Collection[tuple[bytes, bytes]]) -> bool:
        """Whether there is one host, one of ours, and the origin, where there is one, is the same."""
        hosts = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"host"]
        origins = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"origin"]
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return False
        return all(urlsplit(origin).netloc == hosts[0] for origin in origins)

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self.hosts or (self.any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
