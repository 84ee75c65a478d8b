"""Hub ids against the real client and a read-only stand-in for the Hub on this machine: online, offline, unknown."""

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles, matching_files

REPOSITORY = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROW = {"prompt": "p", "response_a": "a", "response_b": "b", "winner": "tie"}


def lines(*ids: str) -> bytes:
    return "".join(json.dumps(ROW | {"id": name}) + "\n" for name in ids).encode()


FILES = {
    "README.md": b"# Battles",
    "dataset_infos.json": b'{"default": {}}',
    "data/train-00000.jsonl": lines("0", "1"),
    "data/train-00001.jsonl": lines("2"),
}


class Hub(BaseHTTPRequestHandler):
    """One dataset, `someone/battles`, at one commit: its description, its tree and its files."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/datasets/someone/battles"):
            rest = path.removeprefix("/api/datasets/someone/battles").split("/")[1:]
            if rest[:1] == ["tree"]:
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": f"{index:040x}"}
                    for index, (name, data) in enumerate(FILES.items())
                ]
                return self._send(200, json.dumps(tree).encode())
            if not rest or (rest[0] == "revision" and rest[1] in ("main", "v1", COMMIT)):
                siblings = [{"rfilename": name} for name in FILES]
                info = {"id": "someone/battles", "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
                return self._send(200, json.dumps(info).encode())
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        parts = path.removeprefix("/datasets/someone/battles/resolve/").split("/", 1)
        if path.startswith("/datasets/someone/battles/resolve/") and parts[1] in FILES:
            number = list(FILES).index(parts[1])
            return self._send(200, FILES[parts[1]], {"X-Repo-Commit": COMMIT, "ETag": f'"{number:040x}"'})
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ((headers or {}) | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


PROGRAM = """
import json, sys
from arena_data.errors import InputError
from arena_data.loading import load_battles
for source in sys.argv[1:]:
    source, _, streaming = source.partition("|")
    try:
        print(json.dumps([row["id"] for row in load_battles(source, streaming=bool(streaming))]))
    except InputError as error:
        print(json.dumps(str(error)))
"""


def read(endpoint: str, home: Path, *sources: str, offline: bool = False) -> list[Any]:
    """What each source reads as, in a process of its own: the client takes its settings from the environment once."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *sources],
        env=kept | settings | {"HF_HUB_OFFLINE": str(int(offline)), "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_hub_id_is_downloaded_once_and_read_again_offline(endpoint: str, tmp_path: Path) -> None:
    ids = ["0", "1", "2"]
    online = read(endpoint, tmp_path, "someone/battles", "someone/battles@v1", "someone/battles|streaming")
    assert online == [ids, ids, ids]
    # Port 9 is where nobody listens: whoever tries the network fails.
    again = read("http://127.0.0.1:9", tmp_path, "someone/battles", "someone/other", offline=True)
    assert again[0] == ids
    assert again[1].startswith("someone/other: not on disk, and the Hub cannot be reached")


def test_what_is_not_on_the_hub_is_one_line(endpoint: str, tmp_path: Path) -> None:
    errors = read(endpoint, tmp_path, "someone/absent", "someone/absent|streaming", "someone/battles@absent")
    for error, name in zip(errors, ("someone/absent", "someone/absent", "someone/battles@absent"), strict=True):
        assert isinstance(error, str) and error.startswith(f"{name}: neither a file nor a Hub dataset")
        assert len(error.splitlines()) == 1


def test_another_file_of_the_same_name_size_and_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "battles.jsonl"
    file.write_bytes(lines("0", "1"))
    times = file.stat()
    assert load_battles(file, cache_dir=str(tmp_path / "cache"))["id"][:] == ["0", "1"]
    for replace in (False, True):
        written = tmp_path / "other.jsonl" if replace else file
        written.write_bytes(lines("4", "5") if replace else lines("2", "3"))
        os.utime(written, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.replace(written, file)
        assert file.stat().st_size == times.st_size
        battles = load_battles(file, cache_dir=str(tmp_path / "cache"))
        assert battles["id"][:] == (["4", "5"] if replace else ["2", "3"])


def test_a_disk_without_room_for_the_cache_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "battles.jsonl"
    file.write_bytes(lines(*map(str, range(5000))))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be kept here .*File too large.*HF_HOME"):
            load_battles(file, cache_dir=str(tmp_path / "cache"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "cache").rglob("*.arrow"))
    assert len(load_battles(file, cache_dir=str(tmp_path / "cache"))) == 5000


def test_stars_over_folders_that_link_to_themselves_end(tmp_path: Path) -> None:
    """Each link multiplies what a walk along links sees: twelve of them would take it for ever."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / ".hidden"):
        (folder / "f.csv").write_text("x")
        for number in range(4):
            (folder / f"loop{number}").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "g.csv").write_text("x")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)

    def names(pattern: str) -> list[str]:
        return [os.path.relpath(file, tmp_path) for file in matching_files(str(tmp_path / pattern))]

    assert names("**/*.csv") == ["a/b/f.csv", "a/f.csv", "elsewhere/g.csv", "f.csv"]
    assert names("**/f.csv") == ["a/b/f.csv", "a/f.csv", "f.csv"]
    assert names("a/**/*.csv")[:2] == ["a/b/f.csv", "a/f.csv"]
    assert names("**/b/**/*.csv")[0] == "a/b/f.csv" and names("*/*.csv")[0] == "a/f.csv"
