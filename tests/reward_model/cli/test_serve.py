"""The command as a person starts it: answers, bad clients, a killed worker, and an orderly stop."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from arena_data.errors import InputError
from reward_model.api import RewardModel
from reward_model.cli import serve
from tests.helpers.run_directories import make_run

KEY = "correct-horse-battery-staple"


def ask(url: str, path: str, body: Any = None, key: str = KEY) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_a_server_from_its_start_to_its_stop(tmp_path: Path) -> None:
    run, key_file = make_run(tmp_path / "tiny"), tmp_path / "key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    command = [sys.executable, "-m", "reward_model", "serve", str(run), "--port", "0", "--api_key_file", str(key_file)]
    command += ["--dtype", "float32", "--device", "cpu", "--offline", "--max_characters", "2000000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = open(tmp_path / "log", "w+", encoding="utf-8")  # noqa: SIM115
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        assert url.startswith("http://127.0.0.1:"), log.seek(0) or log.read()
        host, port = "127.0.0.1", int(url.rpartition(":")[2])

        # Answers are those of offline scoring.
        prompts, responses = ["What is 2 + 2?", "Sing."], ["4.", "La la la. secret"]
        body = {"prompts": prompts, "responses": responses}
        expected = RewardModel.from_pretrained(run, dtype="float32", device="cpu").reward(prompts, responses)
        status, answer = ask(url, "/v1/reward", body)
        assert status == 200
        np.testing.assert_allclose(answer["rewards"], expected, atol=1e-5)
        assert ask(url, "/v1/reward", body, key="wrong")[0] == 401

        # A thousand idle connections, half-closed ones and half a request do not stop it.
        clients = [socket.create_connection((host, port)) for _ in range(1000)]
        for client in clients[:200]:
            client.sendall(b"POST /v1/reward HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
            client.shutdown(socket.SHUT_WR)
        clients[200].sendall(b"\x16\x03\x01 not HTTP \r\n\r\n")
        assert ask(url, "/v1/reward", body)[0] == 200
        for client in clients:
            client.close()

        # A worker that is killed while it scores: 503 for who waited, and the next ones are answered again.
        [worker] = [
            child
            for child in psutil.Process(server.pid).children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]
        statuses: list[int] = []
        large = {"prompts": ["Sing."] * 500, "responses": [f"{place} la " * 200 for place in range(500)]}
        waiting = threading.Thread(target=lambda: statuses.append(ask(url, "/v1/reward", large)[0]))
        waiting.start()
        while waiting.is_alive() and not _has_taken(url):
            time.sleep(0.01)
        worker.kill()
        waiting.join(60)
        assert statuses == [503]
        assert ask(url, "/health")[0] == 200
        deadline = time.monotonic() + 120
        while ask(url, "/ready")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        status, answer = ask(url, "/v1/reward", body)
        assert status == 200
        np.testing.assert_allclose(answer["rewards"], expected, atol=1e-5)

        # SIGTERM: what was taken is answered, and no process is left.
        children = psutil.Process(server.pid).children(recursive=True)
        small = {"prompts": ["Sing."] * 100, "responses": [f"{place} la " * 50 for place in range(100)]}
        waiting = threading.Thread(target=lambda: statuses.append(ask(url, "/v1/reward", small)[0]))
        waiting.start()
        while waiting.is_alive() and not _has_taken(url):
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        waiting.join(60)
        assert statuses == [503, 200]
        assert server.wait(60) == 0
        assert not psutil.wait_procs(children, timeout=20)[1]
        log.seek(0)
        lines = log.read()
        assert '"route": "/v1/reward", "status": 200, "rows": 2' in lines and '"worker": "died"' in lines
        assert "secret" not in lines and KEY not in lines and "Traceback" not in lines
    finally:
        server.kill()
        server.wait()
        log.close()


def _has_taken(url: str) -> bool:
    """Whether rows are being scored, or wait: the large request has come."""
    request = urllib.request.Request(url + "/metrics", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        lines = response.read().decode().splitlines()
    return any(line.startswith("arena_reward_scored_now ") and not line.endswith(" 0") for line in lines)


def test_a_key_must_be_usable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    with pytest.raises(InputError, match="no such file"):
        serve.read_key(str(file))
    for text in ("", "short", "two words that are long"):
        file.write_text(text)
        with pytest.raises(InputError, match="no usable key"):
            serve.read_key(str(file))
    file.write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(InputError, match="no usable key"):
        serve.read_key(str(file))
    file.write_text(f"{KEY}\n")
    file.chmod(0o644)
    assert serve.read_key(str(file)) == KEY
    assert "others can read the key; chmod 600" in capsys.readouterr().err
    file.chmod(0o600)
    assert serve.read_key(str(file)) == KEY and not capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--device", "cpu", "--devices", "cuda:0", "cuda:1"], "exclude each other"),
        (["--max_queue", "10", "--max_rows", "11"], "a request of --max_rows 11 would never fit into --max_queue 10"),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        serve.main(["run", *flags])
    assert end.value.code == 2 and line in capsys.readouterr().err
