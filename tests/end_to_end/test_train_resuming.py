"""train_reward.py started again: it goes on as the same run wherever its files lie, and refuses to as another."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from reward_model.cli import train as train_reward
from tests.helpers.tiny_models import write_backbone

SAMPLE = Path(__file__).parents[2] / "arena_data" / "sample.csv"
SETTINGS = (
    "--max_train_battles 40 --max_length 160 --batch_tokens 640 --max_steps 6 --learning_rate 1e-3 --use_cpu true"
    " --disable_tqdm true --validation_share 0.2 --calibration_share 0.2 --use_peft --lora_r 4 --save_strategy steps"
    " --save_steps 2 --eval_strategy steps --eval_steps 2 --save_total_limit 5"
)
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_backbone(tmp_path_factory.mktemp("backbone"), hidden_size=16, intermediate_size=24)


def train(backbone: Path, output: Path, *more: str, file: Path = SAMPLE) -> int:
    paths = ["--model_name_or_path", str(backbone), "--train_file", str(file), "--output_dir", str(output)]
    return train_reward.main([*paths, *SETTINGS.split(), *more])


@pytest.fixture(scope="module")
def whole(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert train(backbone, output) == 0
    return output


@pytest.fixture
def stopped(whole: Path, tmp_path: Path) -> Path:
    """The run as it was when it was killed after its second checkpoint."""
    output = tmp_path / "stopped"
    output.mkdir()
    for name in ("checkpoint-2", "checkpoint-4"):
        shutil.copytree(whole / name, output / name)
    shutil.copy(whole / "run_settings.json", output)
    return output


def test_it_goes_on_where_run_battles_and_backbone_were_moved(
    whole: Path, stopped: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    renamed = shutil.copy(SAMPLE, tmp_path / "renamed.csv")
    moved = shutil.copytree(backbone, tmp_path / "moved")
    assert train(moved, stopped, file=renamed) == 0
    assert f"going on from {stopped / 'checkpoint-4'}" in capsys.readouterr().err
    assert (stopped / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


@pytest.mark.parametrize("lost", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_without_its_state_a_checkpoint_is_passed_over_for_the_one_before(
    lost: str, whole: Path, stopped: Path, backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stopped / "checkpoint-4" / lost).unlink()
    assert train(backbone, stopped) == 0
    said = capsys.readouterr().err
    assert "checkpoint-4 is passed over" in said and f"going on from {stopped / 'checkpoint-2'}" in said
    assert (stopped / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_a_checkpoint_elsewhere_is_gone_on_from(whole: Path, stopped: Path, backbone: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert train(backbone, elsewhere, "--resume_from_checkpoint", str(stopped / "checkpoint-4")) == 0
    assert (elsewhere / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert not (elsewhere / "checkpoint-4").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--adam_beta2 0.99", "differs in adam_beta2; remove it"),
        ("--adam_epsilon 1e-6 --neftune_noise_alpha 5 --padding_free false", "adam_epsilon"),
        ("--load_best_model_at_end false", "differs in load_best_model_at_end"),
        ("--lora_r 8", "differs in lora_r"),
        ("--resume_from_checkpoint false", "--resume_from_checkpoint false starts anew"),
        ("--resume_from_checkpoint no/such", "no/such: --resume_from_checkpoint names no checkpoint"),
    ],
)
def test_another_run_is_refused(
    more: str, message: str, stopped: Path, backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(backbone, stopped, *more.split()) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (stopped / WEIGHTS).exists()


def test_exchanged_responses_are_another_run(
    stopped: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(SAMPLE)
    rows[["response_a", "response_b"]] = rows[["response_b", "response_a"]].to_numpy()
    rows.to_csv(tmp_path / "exchanged.csv", index=False)
    assert train(backbone, stopped, file=tmp_path / "exchanged.csv") == 2
    assert "differs in battles" in capsys.readouterr().err.splitlines()[-1]


def test_other_weights_of_the_backbone_are_another_run(
    stopped: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_backbone(tmp_path / "other", hidden_size=16, intermediate_size=24, initializer_range=0.1)
    assert train(other, stopped) == 2
    assert "differs in model_name_or_path" in capsys.readouterr().err.splitlines()[-1]
