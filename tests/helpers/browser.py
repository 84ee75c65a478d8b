"""A page as a person's browser sees it: opened in headless Chromium from a server that writes down every request."""

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --v=0 --dump-dom --virtual-time-budget=2000"
)


@dataclass(frozen=True)
class Visit:
    """dom: the document after all scripts have run; console: what it logged; requests: paths asked of the server."""

    dom: str
    console: list[str]
    requests: list[str]


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    requests: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, directory=str(folder), **named)

        def do_GET(self) -> None:
            requests.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()


def visit(page: Path, profile: Path) -> Visit:
    """Opens the page. What it asks of its own server, by a relative address, is written down; a favicon is not."""
    with _serving(page.parent) as (address, requests):
        command = [str(CHROMIUM), *_FLAGS.split(), f"--user-data-dir={profile}", f"{address}/{page.name}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(done.stdout, console, [path for path in requests if path != "/favicon.ico"])
