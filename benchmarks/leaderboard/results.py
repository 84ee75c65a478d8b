"""Out-of-fold predictions on disk, one file a system and fold, and what is reckoned from them.

    DIRECTORY/SYSTEM/{fold}of{folds}.npz

Whoever lays files of this form into the leaderboard's folder has a row on its page, whatever made them.
"""

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from arena_data.file_io import write_bytes_atomically
from reward_model.evaluation.resampling import Resampling

BOOTSTRAPS = 2000
FloatArray = npt.NDArray[np.float64]


@dataclass
class Predictions:
    """What one system says of one fold, and what it took.

    Args:
        raw, calibrated: float64 [n, 3], log-probabilities of the held-out battles.
        verdicts: float64 [n, 3].
        groups: str [n], the battles' prompts.
        index: int64 [n], the battles' places in the whole.
        raw_calibration, verdicts_calibration: float64 [m, 3], of the calibration split.
        train_seconds, predict_seconds: of fitting on the training split, and of the n held-out battles; nan: not measured.
        size: bytes of the saved system; nan: not measured.
        about: how it was made, of JSON's own types.
    """

    raw: FloatArray
    calibrated: FloatArray
    verdicts: FloatArray
    groups: np.ndarray
    index: np.ndarray
    raw_calibration: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    verdicts_calibration: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    train_seconds: float = float("nan")
    predict_seconds: float = float("nan")
    size: float = float("nan")
    about: dict[str, Any] = field(default_factory=dict)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Whole or not at all; folders are made where needed."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        stored = {name.name: getattr(self, name.name) for name in fields(self)}
        np.savez_compressed(stream, **stored | {"about": json.dumps(self.about, sort_keys=True)})
        write_bytes_atomically(path, stream.getvalue())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Predictions":
        """Raises: OSError, ValueError or KeyError for a file that is missing, broken or holds something else."""
        with np.load(path, allow_pickle=False) as stored:
            found = {name.name: stored[name.name] for name in fields(cls) if name.name in stored}
        if missing := {"raw", "calibrated", "verdicts", "groups", "index"} - set(found):
            raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
        for name in ("train_seconds", "predict_seconds", "size"):
            found[name] = float(found.get(name, np.nan))
        found["about"] = json.loads(str(found.get("about", "{}")))
        return cls(**found)


def file_of(directory: str | os.PathLike[str], system: str, fold: int, num_folds: int) -> Path:
    return Path(directory) / system / f"{fold}of{num_folds}.npz"


def read_folds(directory: str | os.PathLike[str], system: str, num_folds: int) -> list[Predictions] | None:
    """A system's folds in order; None where one is not there."""
    files = [file_of(directory, system, fold, num_folds) for fold in range(num_folds)]
    return [Predictions.read(file) for file in files] if all(file.exists() for file in files) else None


def joined(folds: Sequence[Predictions]) -> Predictions:
    """All folds as one, in the order of the battles. Raises: ValueError where a battle is there twice."""
    index = np.concatenate([fold.index for fold in folds])
    order = np.argsort(index, kind="stable")
    if len(np.unique(index)) < len(index):
        raise ValueError("a battle is in two folds: the files are of different splits")
    names = ("raw", "calibrated", "verdicts", "groups", "index")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(fold, name) for fold in folds])[order] for name in names}
    train, predict = (
        float(sum(getattr(fold, name) for fold in folds)) for name in ("train_seconds", "predict_seconds")
    )
    first = folds[0]
    return Predictions(**arrays, train_seconds=train, predict_seconds=predict, size=first.size, about=first.about)


def interval(values: np.ndarray, groups: np.ndarray, seed: int = 0) -> str:
    """Mean and 95 % percentile interval of a bootstrap that draws prompts, not battles, as text."""
    low, high = bounds(values, groups, seed)
    return f"{values.mean():.4f} ({low:.4f} to {high:.4f})"


def bounds(values: np.ndarray, groups: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The interval alone."""
    estimate = Resampling(groups.tolist(), BOOTSTRAPS, seed).mean(values)
    return estimate["low"], estimate["high"]
