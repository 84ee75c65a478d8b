"""Several processes end as one does: two launchers, ZeRO 3, 4-bit LoRA; `python -m benchmarks.scale` runs the rest.

A step is a whole epoch in `benchmarks.scale.FLAGS`, so that one process and two take the same steps.
"""

import json
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.scale import __main__ as scale
from reward_model.cli import predict
from reward_model.cli import train as train_reward
from tests.helpers.tiny_models import write_backbone

LORA = scale.METHODS["lora"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scale")


@pytest.fixture(scope="module")
def backbone(folder: Path) -> str:
    return str(write_backbone(folder / "backbone"))


def alone(folder: Path, backbone: str, method: str, output: Path | None = None) -> Path:
    """A run of one process, this one; it goes on where there is a checkpoint in `output`."""
    output = output or folder / f"{method}-single"
    flags = ["--model_name_or_path", backbone, "--output_dir", str(output), *scale.FLAGS, *scale.METHODS[method]]
    assert train_reward.main(flags) == 0
    return output


def predicted(output: Path, *flags: str) -> np.ndarray:
    """float [battles, 3]: what predict.py makes of some battles of the sample."""
    battles, submission = output / "battles.csv", output / "submission.csv"
    scale.write_battles(battles)
    given = ["--model", str(output), "--input", str(battles), "--output", str(submission), "--quiet", *flags]
    assert predict.main([*given, "--dtype", "float32", "--device", "cpu"]) == 0
    return scale.read_submission(submission)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def processes(output: Path) -> int:
    """How many took part: each leaves its random state. A launcher that quietly ran one would pass every comparison."""
    return max(1, len(list((output / "checkpoint-4").glob("rng_state_*.pth"))))


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_two_machines_train_one_model(folder: Path, backbone: str) -> None:
    output, port = folder / "two-machines", free_port()
    command = [str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu", "--num_machines", "2"]
    command += ["--num_processes", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    command += ["--rdzv_backend", "static", "--mixed_precision", "no", "--dynamo_backend", "no"]
    training = [str(scale.ROOT / "train_reward.py"), "--output_dir", str(output), "--model_name_or_path", backbone]
    launchers = [
        subprocess.Popen(
            [*command, "--machine_rank", str(rank), *training, *scale.FLAGS, *LORA],
            env=scale.environment(),
            cwd=scale.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [launcher.communicate(timeout=250) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], said
    assert [text.count("validation log loss") for text, _ in said] == [1, 0]
    assert processes(output) == 2
    one = alone(folder, backbone, "lora")
    losses, weights = scale.differences(scale.read(one), scale.read(output))
    assert losses < 1e-5 and weights < 1e-4
    np.testing.assert_allclose(predicted(one), predicted(output), atol=1e-6)


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_zero3_ends_as_one_process_does_and_resumes_bit_for_bit(folder: Path, backbone: str) -> None:
    output = folder / "zero3"
    done = scale.launch("zero3", output, "--model_name_or_path", backbone)
    assert done.returncode == 0, done.stderr
    assert processes(output) == 2
    run = scale.read(output)
    losses, weights = scale.differences(scale.read(alone(folder, backbone, "full")), run)
    assert losses < 1e-5 and weights < 1e-4
    history = json.loads((output / "checkpoint-4" / "trainer_state.json").read_text("utf-8"))["log_history"]
    # Read end to end, one pack a rank; in groups there would be padding.
    assert {entry["padding_share"] for entry in history if "padding_share" in entry} == {0.0}
    again = scale.interrupted(output, folder / "zero3-again")
    done = scale.launch("zero3", again, "--model_name_or_path", backbone)
    assert done.returncode == 0, done.stderr
    assert "going on from" in done.stderr
    assert scale.differences(run, scale.read(again)) == (0, 0)


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_four_bits_under_zero3_keep_every_digit_of_the_score_layer(folder: Path, backbone: str) -> None:
    output = folder / "zero3-qlora"
    done = scale.launch("zero3", output, "--model_name_or_path", backbone, *scale.METHODS["qlora"])
    assert done.returncode == 0, done.stderr
    assert processes(output) == 2
    saved = load_file(output / "adapter_model.safetensors")
    score = saved["base_model.model.score.weight"]
    assert score.dtype == torch.float32 and not torch.equal(score, score.bfloat16().float())
    adapter = saved["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"]
    assert adapter.abs().max() > 0


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_four_bits_on_one_process_train_save_and_predict(folder: Path, backbone: str) -> None:
    with warnings.catch_warnings():
        # What bitsandbytes packs to evaluate on a CPU has no backward pass: PyTorch then only warns, and training goes on.
        warnings.filterwarnings("error", message=".*an autograd kernel was not registered.*")
        output = alone(folder, backbone, "qlora")
    run = scale.read(output)
    assert run.losses[-1] < run.losses[0]
    saved = load_file(output / "adapter_model.safetensors")
    assert {name for name in saved if ".score." in name} and not {name for name in saved if "base_layer" in name}
    assert all(saved[name].dtype == torch.float32 for name in saved if ".score." in name)
    again = alone(folder, backbone, "qlora", scale.interrupted(output, folder / "qlora-again"))
    assert scale.differences(run, scale.read(again)) == (0, 0)
    assert predicted(output).sum(axis=1) == pytest.approx(1.0)
