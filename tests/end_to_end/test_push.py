"""A run to a Hub and back, by the real client against a real server on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from reward_model.calibration.calibration import Calibration
from reward_model.run_directory.reading import read_run
from tests.helpers.hub_server import Hub, serving
from tests.helpers.run_directories import make_run

ROOT = Path(__file__).parents[2]
TOKEN = "hf_loopbackTokenThatIsNoSecret0123"
REPO, BACKBONE = "someone/reward", "someone/backbone"
NEVER = ["training_args.bin", "run_settings.json", "held_out.csv", "battles.csv"]
LOAD = """
import json, sys
import numpy as np
from huggingface_hub import HfApi
from reward_model.api import RewardModel

address, run, backbone = sys.argv[1:]
prompts, a, b = ["What is 2 + 2?", "Sing."], ["4.", "La la la."], ["Five, I think.", "- la\\n- la"]
local = RewardModel.from_pretrained(run, dtype="float32", device="cpu")
hub = RewardModel.from_pretrained("someone/reward", dtype="float32", device="cpu")
branch = RewardModel.from_pretrained("someone/reward", revision="trial", dtype="float32", device="cpu")
# The three lines of README.md.
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
model = AutoPeftModelForSequenceClassification.from_pretrained("someone/reward", num_labels=1).eval()
tokenizer = AutoTokenizer.from_pretrained("someone/reward")
text = "User:\\nWhat is 2 + 2?\\n\\nAssistant:\\n4."
from transformers.utils import logging
stock = model(**tokenizer(text + tokenizer.eos_token, return_tensors="pt")).logits[0, 0].item()
print(json.dumps({
    "local": local.compare(prompts, a, b).tolist(), "hub": hub.compare(prompts, a, b).tolist(),
    "branch": branch.compare(prompts, a, b).tolist(), "reward": hub.reward(prompts[0], a[0]), "stock": stock,
}))
"""
UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("someone/backbone", exist_ok=True)
for name in ("config.json", "model.safetensors"):
    operations = api.upload_file(path_or_fileobj=f"{sys.argv[1]}/{name}", path_in_repo=name, repo_id="someone/backbone")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with what a training leaves beside it, which nobody should see."""
    folder = tmp_path_factory.mktemp("secret") / "run"
    make_run(folder, model_type="adapter", calibration=Calibration("temperature", {"temperature": 1.7}))
    for name in NEVER:
        (folder / name).write_text(f"{folder}")
    for name in ("checkpoint-3", "runs"):
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_text("old")
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "hub"
    folder.mkdir()
    with serving(folder, TOKEN) as made:
        yield made


def client(hub: Hub, home: Path, *command: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    """Runs a command with the environment of someone whose Hub is ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    environment = clean | {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home)}
    environment |= {"OMP_NUM_THREADS": "1", "NO_PROXY": "*"} | ({"HF_TOKEN": token} if token else {})
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )


def push(hub: Hub, run: Path, *more: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    done = client(hub, hub.folder / "home", "-m", "reward_model", "push", str(run), "--repo", REPO, *more, token=token)
    assert TOKEN not in done.stdout + done.stderr
    return done


def test_a_run_comes_back_as_it_was(hub: Hub, run: Path, tmp_path: Path) -> None:
    details = ["--base_model", BACKBONE, "--dataset", "lmsys/arena", "--license", "apache-2.0", "--private"]
    done = push(hub, run, *details)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == f"{hub.address}/{REPO}/commit/{hub.branches[REPO]['main']}"
    assert hub.private[REPO]

    # Nothing but the model, and no path of this machine.
    files = hub.files(REPO)
    assert not [path for path in files if path in NEVER or path.startswith(("checkpoint", "runs"))]
    assert {"adapter_model.safetensors", "reward_config.json", "style_head.safetensors", "tokenizer.json"} <= set(files)
    for path, content in files.items():
        assert str(run.parent).encode() not in content, path
        assert TOKEN.encode() not in content, path
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == BACKBONE
    card = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert card["datasets"] == ["lmsys/arena"] and card["license"] == "apache-2.0" and card["base_model"] == BACKBONE
    assert card["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(1.09)

    # A second push of the same changes nothing; one to a branch leaves main as it is.
    commits, puts = len(hub.commits), sum(request.startswith("PUT") for request in hub.requests)
    assert push(hub, run, *details).returncode == 0
    assert len(hub.commits) == commits
    assert push(hub, run, "--base_model", BACKBONE, "--revision", "trial").returncode == 0
    assert set(hub.branches[REPO]) == {"main", "trial"} and hub.files(REPO) == files
    assert sum(request.startswith("PUT") for request in hub.requests) == puts

    # Back again, by our code and by stock code.
    home = tmp_path / "reader"
    backbone = run.with_name("run-backbone")
    assert client(hub, home, "-c", UPLOAD, str(backbone)).returncode == 0
    done = client(hub, home, "-c", LOAD, hub.address, str(run), str(backbone))
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_array_equal(found["hub"], found["local"])
    np.testing.assert_array_equal(found["branch"], found["local"])
    assert found["stock"] == pytest.approx(found["reward"], abs=1e-4)
    assert read_run(run).config.base_model != BACKBONE  # the run itself is as it was


def test_what_goes_wrong_is_said_in_a_line(hub: Hub, run: Path, tmp_path: Path) -> None:
    def said(done: Any) -> str:
        assert done.returncode == 2, done.stderr
        last: str = done.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ")
        return last

    assert "refused the token (401)" in said(push(hub, run, token="hf_wrong"))
    assert "no token is set" in said(push(hub, run, token=None))
    assert hub.branches == {}

    # The line breaks before the commit: no half a model is there, and what arrived is not sent again.
    hub.drop = {f"POST /api/models/{REPO}/commit": 1}
    assert "connection was lost" in said(push(hub, run))
    assert hub.files(REPO) == {} and any(request.startswith("PUT") for request in hub.requests)
    hub.requests.clear()
    hub.drop = {f"POST /api/models/{REPO}/preupload": 1}  # the client tries again by itself
    done = push(hub, run)
    assert done.returncode == 0, done.stderr
    assert "is a directory here, and is called 'run-backbone' there" in done.stderr
    assert not [request for request in hub.requests if request.startswith("PUT")]
    assert "adapter_model.safetensors" in hub.files(REPO)
    assert str(run.parent).encode() not in b"".join(hub.files(REPO).values())
    assert "--repo" not in said(client(hub, tmp_path, "-m", "reward_model", "push", str(tmp_path), "--repo", REPO))


def test_training_ends_at_the_hub(hub: Hub, run: Path, tmp_path: Path) -> None:
    """The run itself, not what the Trainer would push: checkpoints, pickled arguments, a card of its own."""
    output = tmp_path / "trained"
    flags = {
        "model_name_or_path": run.with_name("run-backbone"),
        "train_file": "arena_data/sample.csv",
        "output_dir": output,
        "max_train_battles": 30,
        "max_length": 100,
        "batch_tokens": 2000,
        "num_train_epochs": 1,
        "validation_share": 0.2,
        "calibration_share": 0.2,
        "use_cpu": "true",
        "push_to_hub": "true",
        "hub_private_repo": "true",
        "hub_model_id": REPO,
    }
    arguments = [str(part) for name, value in flags.items() for part in (f"--{name}", value)]
    done = client(hub, tmp_path / "home", "train_reward.py", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"pushed: {hub.address}/{REPO}/commit/" in done.stdout
    assert len(hub.commits) == 2 and hub.private[REPO]  # the empty one, and the run
    files = hub.files(REPO)
    assert files["model.safetensors"] == (output / "model.safetensors").read_bytes()
    assert "Training data" in files["README.md"].decode() and "training_args.bin" not in files
    for path, content in files.items():
        assert str(run.parent).encode() not in content and str(tmp_path).encode() not in content, path
    assert TOKEN not in done.stdout + done.stderr
    for path in output.rglob("*.json"):
        assert TOKEN not in path.read_text("utf-8")
