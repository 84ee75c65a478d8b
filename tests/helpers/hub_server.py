"""A Hub on loopback that stores real files, as much of it as pushing and downloading a model takes.

Source: what huggingface_hub 2.4 asks for (`hf_api.py`, `_commit_api.py`, `lfs.py`, `file_download.py`), and git-lfs' batch
API, https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Hub:
    """Commits by repository and branch, large files by sha256, and what was asked.

    Args:
        folder: where the files lie.
        token: the one that may write.
        drop: "METHOD path-prefix" of requests to break off, and how many of them.
    """

    folder: Path
    token: str
    address: str = ""
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    commits: dict[str, dict[str, str]] = field(default_factory=dict)  # commit: {path: sha256 of its content}
    private: dict[str, bool] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    drop: dict[str, int] = field(default_factory=dict)

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        """What a branch holds."""
        return {path: self.blob(sha) for path, sha in self.commits[self.branches[repo][branch]].items()}

    def blob(self, sha: str) -> bytes:
        return (self.folder / sha).read_bytes()

    def keep(self, content: bytes) -> str:
        sha = hashlib.sha256(content).hexdigest()
        (self.folder / sha).write_bytes(content)
        return sha

    def commit(self, repo: str, branch: str, files: dict[str, str]) -> str:
        text = json.dumps([repo, branch, len(self.commits), files])
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = files
        self.branches.setdefault(repo, {})[branch] = commit
        return commit

    def is_dropped(self, request: str) -> bool:
        for prefix, left in self.drop.items():
            if request.startswith(prefix) and left:
                self.drop[prefix] -= 1
                return True
        return False


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        if self.hub.is_dropped(request):
            self.connection.close()
            self.close_connection = True
            return
        size = self.headers.get("Content-Length")
        self.body = self._chunked() if size is None and self.headers.get("Transfer-Encoding") else b""
        if size is not None:
            self.body = self.rfile.read(int(size))
        writes = self.command in ("POST", "PUT") and not path.startswith("/lfs/")
        if writes and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._json({"error": "Invalid credentials in Authorization header"}, 401)
        for pattern, answer in ROUTES:
            if found := re.fullmatch(pattern, request):
                return answer(self, *found.groups())
        self._json({"error": f"no such address: {request}"}, 404)

    def _chunked(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content: Any, status: int = 200, **headers: str) -> None:
        self._send(json.dumps(content).encode(), status, Content_Type="application/json", **headers)

    def _commit_of(self, repo: str, revision: str) -> str | None:
        if repo not in self.hub.branches:
            self._json({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            return None
        commit = self.hub.branches[repo].get(revision, revision)
        if commit not in self.hub.commits:
            self._json({"error": "Revision not found"}, 404, X_Error_Code="RevisionNotFound")
            return None
        return commit

    # -- writing ---------------------------------------------------------------------------------------------------

    def validate(self) -> None:
        content = json.loads(self.body)["content"]
        try:
            metadata = yaml.safe_load(content.split("---\n")[1])
            missing = {"model-index", "base_model", "library_name"} - set(metadata)
            errors = [{"message": f"no {name}"} for name in sorted(missing)]
        except (IndexError, yaml.YAMLError, TypeError) as error:
            errors = [{"message": str(error)}]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def create(self) -> None:
        asked = json.loads(self.body)
        repo = f"{asked['organization']}/{asked['name']}"
        if repo in self.hub.branches:
            known = {"error": "You already created this model repo", "url": f"{self.hub.address}/{repo}"}
            return self._json(known, 409)
        self.hub.private[repo] = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.commit(repo, "main", {})
        self._json({"url": f"{self.hub.address}/{repo}"})

    def branch(self, repo: str, name: str) -> None:
        if name in self.hub.branches[repo]:
            return self._json({"error": "Reference already exists"}, 409)
        self.hub.branches[repo][name] = self.hub.branches[repo]["main"]
        self._json({})

    def preupload(self, repo: str, revision: str) -> None:
        if (commit := self._commit_of(repo, revision)) is None:
            return
        known, answer = self.hub.commits[commit], []
        for file in json.loads(self.body)["files"]:
            path, is_large = file["path"], file["path"].endswith((".safetensors", ".png"))
            oid = None
            if path in known:
                oid = known[path] if is_large else git_oid(self.hub.blob(known[path]))
            mode = "lfs" if is_large else "regular"
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": answer})

    def batch(self, repo: str) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if not (self.hub.folder / wanted["oid"]).exists():
                upload = {"href": f"{self.hub.address}/lfs/{wanted['oid']}"}
                entry["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.address}/verify"}}
            objects.append(entry)
        self._json({"transfer": "basic", "objects": objects})

    def put(self, oid: str) -> None:
        right = self.hub.keep(self.body) == oid
        self._send(b"", 200 if right else 400)

    def verify(self) -> None:
        asked = json.loads(self.body)
        file = self.hub.folder / asked["oid"]
        self._json({}, 200 if file.is_file() and file.stat().st_size == asked["size"] else 404)

    def write(self, repo: str, revision: str) -> None:
        if (commit := self._commit_of(repo, revision)) is None:
            return
        files = dict(self.hub.commits[commit])
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = self.hub.keep(base64.b64decode(value["content"]))
            elif operation["key"] == "lfsFile":
                files[value["path"]] = value["oid"]
            elif operation["key"] == "deletedFile":
                files.pop(value["path"])
        made = self.hub.commit(repo, revision, files)
        self._json({"commitUrl": f"{self.hub.address}/{repo}/commit/{made}", "commitOid": made})

    # -- reading ---------------------------------------------------------------------------------------------------

    def info(self, repo: str, revision: str | None = None) -> None:
        if commit := self._commit_of(repo, revision or "main"):
            siblings = [{"rfilename": path} for path in self.hub.commits[commit]]
            known = {"id": repo, "sha": commit, "private": self.hub.private[repo], "siblings": siblings, "tags": []}
            self._json(known)

    def tree(self, repo: str, revision: str) -> None:
        if commit := self._commit_of(repo, revision):
            files = {path: self.hub.blob(sha) for path, sha in self.hub.commits[commit].items()}
            self._json(
                [
                    {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
                    for path, content in files.items()
                ]
            )

    def resolve(self, repo: str, revision: str, path: str) -> None:
        if commit := self._commit_of(repo, revision):
            if path not in self.hub.commits[commit]:
                return self._json({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            sha = self.hub.commits[commit][path]
            self._send(self.hub.blob(sha), ETag=f'"{sha}"', X_Repo_Commit=commit)


_REPO = r"([^/]+/[^/]+)"
ROUTES: list[tuple[str, Any]] = [
    (r"POST /api/validate-yaml", Handler.validate),
    (r"POST /api/repos/create", Handler.create),
    (rf"POST /api/models/{_REPO}/branch/(.+)", Handler.branch),
    (rf"POST /api/models/{_REPO}/preupload/(.+)", Handler.preupload),
    (rf"POST /{_REPO}\.git/info/lfs/objects/batch", Handler.batch),
    (r"PUT /lfs/(\w+)", Handler.put),
    (r"POST /verify", Handler.verify),
    (rf"POST /api/models/{_REPO}/commit/(.+)", Handler.write),
    (rf"GET /api/models/{_REPO}", Handler.info),
    (rf"GET /api/models/{_REPO}/revision/(.+)", Handler.info),
    (rf"GET /api/models/{_REPO}/tree/([^/]+)/?", Handler.tree),
    (rf"(?:GET|HEAD) /{_REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
]


@contextmanager
def serving(folder: Path, token: str) -> Iterator[Hub]:
    """A Hub at `hub.address` until the block ends."""
    hub = Hub(folder, token)
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
