"""Finished work on disk: scores of a shard of sequences, a file each, so that a run that stops goes on where it was.

A shard's file is whole or absent. Their folder's name is a hash of everything that the scores depend on: another input,
model, dtype or max_length never meets them. Processes share work through the same files, without talking to each other.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from arena_data.errors import InputError
from arena_data.file_io import write_bytes_atomically


@dataclass(frozen=True)
class ShardScores:
    """Scores of a shard's m sequences: values float32 [m, 2], NaN where it failed, and which were read shortened."""

    values: npt.NDArray[np.float32]
    shortened: npt.NDArray[np.bool_]


def work_folder(output: Path) -> Path:
    """Where a submission's shards are kept until it is written: hidden, beside it."""
    return output.with_name(f".{output.name}.shards")


@dataclass(frozen=True)
class ShardStore:
    """The shards of one model and one input, in `folder`."""

    folder: Path

    def write(self, shard: int, scores: ShardScores) -> None:
        """Raises: InputError where it cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", file=self.folder) from error
        content = to_safetensors({"values": scores.values, "shortened": scores.shortened.astype(np.uint8)})
        write_bytes_atomically(self._file(shard), content)

    def read(self, shard: int, rows: int) -> ShardScores | None:
        """The scores of a finished shard of so many rows; None where there are none."""
        try:
            stored = load_file(self._file(shard))
            scores = ShardScores(stored["values"], stored["shortened"].astype(bool))
        except (OSError, KeyError, SafetensorError):
            return None
        return scores if scores.values.shape == (rows, 2) and len(scores.shortened) == rows else None

    def _file(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.safetensors"


def remove_work(output: Path) -> None:
    shutil.rmtree(work_folder(output), ignore_errors=True)
