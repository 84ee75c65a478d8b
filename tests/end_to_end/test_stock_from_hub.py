"""A stock reward model of the Hub: wrapped by its commit, then read without a network, also when the Hub has moved on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arena_data.submission import read_submission
from tests.helpers.hub_server import Hub, serving
from tests.helpers.made_battles import write_sample
from tests.reward_model.predict.test_stock_member import stock_llama

ROOT = Path(__file__).parents[2]
TOKEN = "hf_loopbackTokenThatIsNoSecret0123"
# Both commands in one process: importing is what takes the time.
SCRIPT = """
import sys
from reward_model.__main__ import main
battles, wrapped = sys.argv[1:3]
status = main(["calibrate", "someone/stock", "--input", battles, "--output", wrapped, "--device", "cpu"])
unwrapped = main(["predict", "--model", "someone/stock", "--input", battles, "--output", wrapped + ".csv", "--quiet"])
print(status, unwrapped)
"""


def publish(hub: Hub, folder: Path) -> str:
    """Commits the directory's files and returns the commit."""
    return hub.commit("someone/stock", "main", {path.name: hub.keep(path.read_bytes()) for path in folder.iterdir()})


@pytest.mark.scale  # three processes that import everything, and deadlines of the Hub that a busy machine misses
def test_it_is_wrapped_by_its_commit_and_read_offline(tmp_path: Path) -> None:
    battles, wrapped = tmp_path / "labelled.csv", tmp_path / "wrapped"
    write_sample(battles, 20)
    (tmp_path / "hub").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}

    def run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment | more, capture_output=True, text=True, timeout=500
        )

    with serving(tmp_path / "hub", TOKEN) as hub:
        commit = publish(hub, stock_llama(tmp_path / "rm"))
        done = run("-c", SCRIPT, str(battles), str(wrapped), HF_ENDPOINT=hub.address)
        assert done.stdout.splitlines()[-1] == "0 2", done.stderr
        assert "arena-reward calibrate someone/stock" in done.stderr.splitlines()[-1]
        publish(hub, stock_llama(tmp_path / "newer", rms_norm_eps=0.5))
    stored = json.loads((wrapped / "stock_model.json").read_text())["model"]
    assert stored == {"name": "someone/stock", "revision": commit, "files": {}}
    flags = ["--input", str(battles), "--output", str(tmp_path / "s.csv"), "--quiet", "--device", "cpu", "--offline"]
    done = run("predict.py", "--model", str(wrapped), *flags)
    assert done.returncode == 0, done.stderr
    assert len(read_submission(tmp_path / "s.csv")[0]) == 20
