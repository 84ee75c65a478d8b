"""Finished work on disk: scores of a shard of sequences, a file each, so that a run that stops goes on where it was.

A shard's file is whole or absent. Their folder's name is a hash of everything that the scores depend on: another input,
model, dtype or max_length never meets them. Processes share work through the same files, without talking to each other.
The main process removes the folder when the submission is written; a process that finds it gone has nothing left to do.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

from arena_data.errors import InputError
from arena_data.file_io import write_bytes_atomically

# Of the files' content. Part of the folder's name, so files of another content are never read.
SHARD_FORMAT = 2


class WorkRemoved(InputError):
    """The work folder is gone: the main process has written the submission, or a person has removed the folder."""


@dataclass(frozen=True)
class ShardScores:
    """Scores of a shard's m sequences.

    values: float32 [m, 2], NaN where a sequence failed. cut: int64 [m], tokens of its texts that were not read.
    shortened: bool [m], read at a shorter max_length for want of time.
    """

    values: npt.NDArray[np.float32]
    cut: npt.NDArray[np.int64]
    shortened: npt.NDArray[np.bool_]


def work_folder(output: Path) -> Path:
    """Where a submission's shards are kept until it is written: hidden, beside it."""
    return output.with_name(f".{output.name}.shards")


def make_work_folder(output: Path) -> Path:
    """Makes the work folder and returns it. Raises: InputError where it cannot be written."""
    folder = work_folder(output)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=folder) from error
    return folder


@dataclass(frozen=True)
class ShardStore:
    """The shards of one model and one input, in `folder`."""

    folder: Path

    def write(self, shard: int, scores: ShardScores) -> None:
        """Raises: InputError where it cannot be written, WorkRemoved where the work folder is gone."""
        try:
            self.folder.mkdir(exist_ok=True)
        except FileNotFoundError as error:
            raise WorkRemoved("the work folder was removed", file=self.folder.parent) from error
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", file=self.folder) from error
        arrays: dict[str, npt.NDArray[Any]] = {
            "values": scores.values,
            "cut": scores.cut,
            "shortened": scores.shortened.astype(np.uint8),
        }
        try:
            write_bytes_atomically(self._file(shard), to_safetensors(arrays))
        except InputError as error:
            if not self.folder.exists():
                raise WorkRemoved("the work folder was removed", file=self.folder.parent) from error
            raise

    def check_shared(self) -> None:
        """Raises: WorkRemoved where the work folder, which processes share, is gone."""
        if not self.folder.parent.is_dir():
            raise WorkRemoved("the work folder was removed", file=self.folder.parent)

    def read(self, shard: int, rows: int) -> ShardScores | None:
        """The scores of a finished shard of so many rows; None where there are none."""
        try:
            stored = load_file(self._file(shard))
            scores = ShardScores(stored["values"], stored["cut"], stored["shortened"].astype(bool))
        except (OSError, KeyError, SafetensorError):
            return None
        fits = scores.values.shape == (rows, 2) and len(scores.cut) == len(scores.shortened) == rows
        return scores if fits else None

    def has(self, shard: int) -> bool:
        """Whether there is a file of a finished shard."""
        return self._file(shard).is_file()

    def _file(self, shard: int) -> Path:
        return self.folder / f"{shard:06d}.safetensors"


def remove_work(output: Path) -> None:
    shutil.rmtree(work_folder(output), ignore_errors=True)
