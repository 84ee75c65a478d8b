"""A checkpoint is whole by its manifest: name, size and hash of each file, written when all of them are written.

A checkpoint without a manifest was being written when its run was killed, or comes from a version without manifests. One
whose files are not those of its manifest was damaged, or was being removed. Neither is a place to go on from: Transformers
would take a fresh optimizer in the place of one that is not there.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from arena_data.errors import InputError
from arena_data.file_io import content_hash, json_object, read_json, write_json
from reward_model.errors import one_line

MANIFEST = "manifest.json"
# What the RuntimeErrors of `torch.save` say where a file cannot be written.
_TORCH_SAVE = ("PytorchStreamWriter", "inline_container", "iostream error")


def write_manifest(checkpoint: Path, settings: dict[str, Any] | None) -> None:
    """Names every file of the checkpoint, those of other ranks too, and the run that it is of.

    Args:
        checkpoint: a folder whose files are all written.
        settings: as `reward_model.train.settings.run_settings.settings_of` gives them; None for a run that has none.

    Raises: InputError where it cannot be written.
    """
    files = {
        name: {"bytes": path.stat().st_size, "hash": content_hash(path)} for name, path in _files(checkpoint).items()
    }
    write_json(checkpoint / MANIFEST, {"settings": settings, "files": files})


def read_manifest(checkpoint: Path) -> dict[str, Any]:
    """The settings of a checkpoint that is whole. Raises: InputError that says what is missing or damaged."""
    if not (checkpoint / MANIFEST).is_file():
        raise InputError(
            f"no {MANIFEST}: it was being written, or an earlier version of this program wrote it", file=checkpoint
        )
    settings, listed = read_json(checkpoint / MANIFEST, _parsed)
    files = _files(checkpoint)
    for name, about in listed.items():
        if name not in files:
            raise InputError("is missing", file=checkpoint / name)
        if files[name].stat().st_size != about["bytes"] or content_hash(files[name]) != about["hash"]:
            raise InputError("is damaged", file=checkpoint / name)
    return settings


@contextlib.contextmanager
def one_line_if_unwritten(folder: str | Path, *, remove: bool = False) -> Iterator[None]:
    """A disk that is full while a model is saved is one line. safetensors and PyTorch have errors of their own for it.

    Args:
        folder: that is written.
        remove: whether to remove what was written of it.

    Raises: InputError in the place of what saving raises.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError, InputError) as error:
        if type(error) is RuntimeError and not any(sign in str(error) for sign in _TORCH_SAVE):
            raise
        if remove:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, InputError):  # a part of the folder has said it already
            raise
        reason = getattr(error, "strerror", None) or one_line(error)
        raise InputError(
            f"cannot be written: {reason}",
            file=folder,
            fix="free the disk; the same command goes on from the last checkpoint",
        ) from error


def _files(checkpoint: Path) -> dict[str, Path]:
    """All but the manifest, by their names below the checkpoint."""
    paths = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    return {name: path for path in paths if (name := path.relative_to(checkpoint).as_posix()) != MANIFEST}


def _parsed(content: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    settings = json_object(content)["settings"]
    files = {name: json_object(about) for name, about in json_object(content["files"]).items()}
    if not all({"bytes", "hash"} <= about.keys() for about in files.values()):
        raise ValueError("a file without size or hash")
    return {} if settings is None else json_object(settings), files
