"""One answer to the question which device computes, also where PyTorch names a GPU that cannot be used."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reward_model.baselines.regression.embeddings import Embedder
from reward_model.errors import ModelError
from reward_model.model.device import default_device, keep_one_device, named_device
from reward_model.publish.export import stock_rewards, write_template
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from reward_model.train.config import TieRewardConfig
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
    assert "one of 4 GPUs" in said and "accelerate launch --num_processes 4" in said and said.count("\n") == 1
