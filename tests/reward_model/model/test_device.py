"""One answer to the question which device computes, also where PyTorch names a GPU that cannot be used."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from reward_model.baselines.regression.embeddings import Embedder
from reward_model.errors import ModelError
from reward_model.model.device import compute_on, default_device, keep_one_device, named_device
from reward_model.publish.export import stock_rewards, write_template
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from reward_model.train.settings.config import TieRewardConfig
from tests.helpers.run_directories import make_run


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA build of PyTorch on a machine without a driver."""

    def current_accelerator(check_available: bool = False) -> torch.device | None:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", current_accelerator)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)


@pytest.mark.usefixtures("no_driver")
def test_a_cuda_build_without_a_driver_computes_on_the_cpu(tmp_path: Path) -> None:
    assert default_device() == torch.device("cpu")
    run = make_run(tmp_path / "run", kind="bert", style=False)
    loaded = load_run_model(read_run(run), LoadOptions())
    assert loaded.device.type == next(loaded.model.parameters()).device.type == "cpu"
    write_template(loaded.tokenizer, 300)
    loaded.tokenizer.save_pretrained(run)
    assert stock_rewards(run, [["Hello."]], [["Hi."]], None).shape == (1,)
    assert Embedder("any", 64).device.type == "cpu"
    assert TieRewardConfig(output_dir=str(tmp_path / "out")).use_cpu


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("name", "expected"), [(None, "cuda"), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1")])
def test_a_device_that_is_here_is_taken(name: str | None, expected: str) -> None:
    assert named_device(name) == torch.device(expected)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cuda:2", "cuda:9", "mps", "meta", "gpu", "cuda:-1", "cuda:x"])
def test_a_device_that_is_not_here_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ModelError, match=name) as refusal:
        LoadOptions(device=name).torch_device()
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("no_driver")
def test_a_gpu_without_a_driver_is_refused() -> None:
    with pytest.raises(ModelError, match=r"cuda:0.*expected one of cpu$"):
        named_device("cuda:0")


def test_one_process_never_splits_batches_over_several_gpus(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the Trainer asks is `n_gpu` of the very arguments that it is given."""
    arguments: Any = TieRewardConfig(output_dir=str(tmp_path), use_cpu=True)
    assert arguments.n_gpu == 0
    keep_one_device(arguments)
    assert arguments.n_gpu == 0 and capsys.readouterr().err == ""
    monkeypatch.setattr(arguments, "_n_gpu", 4)
    keep_one_device(arguments)
    assert arguments.n_gpu == 1 and arguments.train_batch_size == arguments.per_device_train_batch_size
    said = capsys.readouterr().err
    assert (
        "one of 4 GPUs" in said
        and "--config_file ds_configs/ddp.yaml --num_processes 4" in said
        and said.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("name", "capability", "current", "cudnn"),
    [
        ("cuda:1", (9, 0), [1], [False]),
        ("cuda:0", (8, 0), [0], []),
        ("cuda", (10, 0), [], [False]),
        ("cpu", (9, 0), [], []),
    ],
)
def test_a_process_computes_on_its_own_gpu_without_cudnns_attention(
    name: str, capability: tuple[int, int], current: list[int], cudnn: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[int] = []
    switched: list[bool] = []
    # As PyTorch's own, which raises for a device without an index.
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: set_to.append(torch._utils._get_device_index(device)))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", switched.append)
    compute_on(torch.device(name))
    assert (set_to, switched) == (current, cudnn)


@pytest.mark.parametrize("merge", [False, True])
def test_weights_go_straight_to_the_gpu_unless_they_are_merged_first(
    merge: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = read_run(make_run(tmp_path / "run", model_type="adapter"))
    settings: dict[str, Any] = {}
    placed: list[torch.device] = []

    def load_pretrained(kind: Any, source: str, **options: Any) -> None:
        assert placed  # the process's GPU is set before anything is put on it
        settings.update(options)
        raise OSError("no GPU here")

    module = "reward_model.run_directory.load_model"
    monkeypatch.setattr(f"{module}.named_device", lambda name: torch.device("cuda:1"))
    monkeypatch.setattr(f"{module}.compute_on", placed.append)
    monkeypatch.setattr(f"{module}.load_pretrained", load_pretrained)
    with pytest.raises(ModelError, match="no GPU here"):
        load_run_model(run, LoadOptions(dtype="bfloat16", merge=merge))
    assert settings.get("device_map") == (None if merge else {"": torch.device("cuda:1")})


def test_an_adapter_is_loaded_to_the_models_device_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = read_run(make_run(tmp_path / "run", model_type="adapter"))
    monkeypatch.setattr("peft.utils.other.infer_device", lambda: "cuda")  # what PEFT guesses on a machine with a GPU
    monkeypatch.setattr("peft.peft_model.infer_device", lambda: "cuda")
    assert load_run_model(run, LoadOptions(device="cpu")).device.type == "cpu"


def test_attention_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    with pytest.raises(ModelError, match=r"cannot be loaded .*[Ff]lash") as refusal:
        load_run_model(run, LoadOptions(device="cpu", attn_implementation="flash_attention_2"))
    assert "\n" not in str(refusal.value)


SHOW = "import reward_model, os; print(os.environ.get('PYTORCH_CUDA_ALLOC_CONF'), os.environ.get('PYTORCH_ALLOC_CONF'))"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "expandable_segments:True None"),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512"}, "max_split_size_mb:512 None"),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:512"}, "None max_split_size_mb:512"),
    ],
)
def test_the_allocator_is_left_as_it_was_set(given: dict[str, str], expected: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if "ALLOC_CONF" not in name}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], env=inherited | given, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == expected
