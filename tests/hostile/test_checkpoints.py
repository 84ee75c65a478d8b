"""A checkpoint is from anybody: what PyTorch keeps of optimizer, schedule and random numbers is read without its pickles."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from reward_model.cli.train import main
from reward_model.train.checkpoints.manifest import MANIFEST, read_manifest, write_manifest
from tests.helpers.killed_training import flags
from tests.helpers.tiny_models import write_backbone


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("training")
    backbone = write_backbone(root / "backbone", hidden_size=16, intermediate_size=24)
    command = [*flags(backbone, root / "run"), "--max_steps", "2", "--save_steps", "1", "--eval_steps", "1"]
    assert main(command) == 0
    return command


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_no_pickle_of_a_checkpoint_runs(
    name: str, training: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    finished = Path(training[training.index("--output_dir") + 1])
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(run / "checkpoint-2")
    (run / "reward_config.json").unlink()
    checkpoint = run / "checkpoint-1"
    settings = read_manifest(checkpoint)
    (checkpoint / name).write_bytes(pickle.dumps(Touch(tmp_path / "marker")))
    (checkpoint / MANIFEST).unlink()
    write_manifest(checkpoint, settings)
    assert main([str(run) if argument == str(finished) else argument for argument in training]) == 2
    assert not (tmp_path / "marker").exists()
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1 and "checkpoint-1" in errors[0]
