"""One fold of our own reward model, by the ways that anybody goes: train_reward.py, then what predict.py reads it with."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np

from benchmarks.leaderboard.results import Predictions
from benchmarks.leaderboard.systems import System, train_files
from reward_model.baselines.base import FloatArray, verdicts_of
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import open_member
from reward_model.run_directory.load_model import LoadOptions
from reward_model.run_directory.reading import read_run
from reward_model.tokens.encodings import ENCODINGS, SEPARATE


def run_our_fold(
    system: System, options: argparse.Namespace, parts: dict[str, datasets.Dataset], fold: int
) -> Predictions:
    """Raises: ValueError where training fails; it has said why."""
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "train_reward.py", *flags_of(system, options, fold, directory)], check=False
        )
        if done.returncode:
            raise ValueError(f"train_reward.py ended with exit status {done.returncode}")
        trained = time.perf_counter() - started
        run = read_run(directory)
        member = open_member(directory, MemberOptions(load=LoadOptions(), calibrated=False))

        def predict(battles: datasets.Dataset) -> FloatArray:
            return np.asarray(member.predict(Job(battles)).log_probs, dtype=np.float64)

        raw_calibration = predict(parts["calibration"])  # loads the model, which is no cost of a battle
        held_out = parts["validation"]
        started = time.perf_counter()
        raw = predict(held_out)
        predicted = time.perf_counter() - started
        files = [
            file for file in Path(directory).iterdir() if file.suffix in (".safetensors", ".json", ".txt", ".jinja")
        ]
        size = sum(file.stat().st_size for file in files)
    return Predictions(
        raw=raw,
        calibrated=run.calibration.apply(raw),
        verdicts=verdicts_of(held_out),
        groups=np.asarray(list(held_out["group"])),
        index=np.asarray(held_out["place"], dtype=np.int64),
        raw_calibration=raw_calibration,
        verdicts_calibration=verdicts_of(parts["calibration"]),
        train_seconds=trained,
        predict_seconds=predicted,
        size=float(size),
        about=system.made_by(options),
    )


def flags_of(system: System, options: argparse.Namespace, fold: int, directory: str) -> list[str]:
    """Of train_reward.py: the same battles, folds and limits as the other systems'."""
    encoding = next((ENCODINGS[flag] for flag in system.flags if flag in ENCODINGS), SEPARATE)
    limit = options.max_length * encoding.responses_in_row
    flags: dict[str, object] = {
        "output_dir": directory,
        "num_folds": options.num_folds,
        "fold": fold,
        "model_name_or_path": options.model_name_or_path,
        "max_length": limit,
        "num_train_epochs": options.num_train_epochs,
        "learning_rate": options.learning_rate,
        "batch_tokens": options.batch_tokens,
        "bf16": str(options.bf16).lower(),
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
        "report_to": "none",
    }
    listed = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    return ["--train_file", *map(str, train_files(options.data_dir)), *listed, *system.flags]
