"""Trackers get the figures of a run, on this machine and without a network. Each test needs its tracker's package."""

import importlib.util
import sqlite3
import time
from pathlib import Path

import pytest

from reward_model.cli import train
from tests.helpers.commands import SAMPLE
from tests.helpers.tiny_models import write_backbone


def train_with(tracker: str, folder: Path) -> None:
    backbone = write_backbone(folder / "backbone", hidden_size=16, intermediate_size=24)
    flags = f"--model_name_or_path {backbone} --train_file {SAMPLE} --output_dir {folder / 'run'} --report_to {tracker}"
    flags += (
        " --max_train_battles 40 --max_length 128 --batch_tokens 600 --max_steps 2 --logging_steps 1 --use_cpu true"
    )
    flags += " --validation_share 0.2 --calibration_share 0.2 --disable_tqdm true --project arena --run_name first"
    train.train(flags.split())


@pytest.mark.slow
def test_trackio_keeps_the_figures_in_a_database_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("trackio") is None:  # its folder is read when it is imported, after the next line
        pytest.skip("needs trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    train_with("trackio", tmp_path)
    [database] = (tmp_path / "trackio").rglob("arena*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics").fetchall()
    assert {name for name, *_ in rows} == {"first"} and {1, 2} <= {step for _, step, _ in rows}
    text = b" ".join(metrics if isinstance(metrics, bytes) else metrics.encode() for *_, metrics in rows)
    assert b"log_loss" in text and b"tie_rate_predicted" in text


@pytest.mark.slow
def test_wandb_keeps_an_offline_run_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    train_with("wandb", tmp_path)
    wandb.finish()  # as the end of the process does
    [file] = tmp_path.rglob("run-*.wandb")
    until = time.monotonic() + 20  # another process writes it
    while b"eval/log_loss" not in file.read_bytes() and time.monotonic() < until:
        time.sleep(0.1)
    assert b"eval/log_loss" in file.read_bytes()
