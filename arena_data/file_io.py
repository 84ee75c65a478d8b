"""Reads and writes small files. An output file is whole or absent: nobody ever reads half a submission or configuration.

The content goes to a hidden file in the same folder, down to the disk, and is then moved into place in one step.
Whatever goes wrong before that step leaves the file that was there as it was.
"""

import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import xxhash

from arena_data.errors import InputError

_READ_AT_ONCE = 1 << 20  # bytes
_CLOCK_STEP = 2_000_000_000  # nanoseconds; that of the coarsest file systems
Contents = TypeVar("Contents")


def write_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text as UTF-8, its line ends as they are; what UTF-8 cannot hold (a lone surrogate) becomes "?".

    Otherwise as `write_bytes_atomically`.

    Raises: InputError if the path cannot be written; nothing is left behind.
    """
    write_bytes_atomically(path, text.encode("utf-8", "replace"))


def write_bytes_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes bytes as they are.

    A file that is there is replaced and its permissions are kept; a new one gets those of any new file. A symbolic
    link stays, and what it points to is replaced.

    Raises: InputError if the path cannot be written; nothing is left behind.
    """
    try:
        _replace(Path(path).resolve(), content)
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be written: {reason}", file=os.fspath(path)) from error


def check_folder(path: str | os.PathLike[str]) -> Path:
    """Makes a folder where there is none. Raises: InputError, before any work is done, where files cannot be put there."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(0, "the folder is read-only")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=os.fspath(path)) from error
    return folder


def check_output(path: str | os.PathLike[str], *used: str | os.PathLike[str]) -> None:
    """Finds out before long work whether the path can be written, without touching what is there.

    Args:
        used: what else is read or written: files, or names that need not be files.

    Raises: InputError for a directory, a missing or read-only folder, something that is no regular file, or a file that
        is one of those used.
    """
    try:
        target = Path(path).resolve()
        if target.exists() and not target.is_file():
            raise OSError("is a directory" if target.is_dir() else "not a regular file")
        if any(_is_same(target, file) for file in used):
            raise OSError("it would overwrite what is read or written here; name another file")
        probe = target.with_name(f".{secrets.token_hex(8)}.part")
        probe.touch(exist_ok=False)
        probe.unlink()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be written: {reason}", file=os.fspath(path)) from error


def make_readable(files: Iterable[Path], like: Path) -> None:
    """Gives files the permissions of another one, which was made like any new file.

    safetensors leaves its files readable to their owner only, whatever the umask says.
    """
    mode = stat.S_IMODE(like.stat().st_mode)
    for file in files:
        if file.is_file() and not file.is_symlink():
            file.chmod(mode)


def check_output_folder(
    path: str | os.PathLike[str],
    *used: str | os.PathLike[str],
    own: str | None = None,
    foreign: Mapping[str, str] | None = None,
) -> None:
    """Finds out before long work whether a folder can be made or written to, without touching what is there.

    Args:
        used: what else is read: files, folders, or names that need be neither.
        own: a file by which a folder of this kind is known, for a command that replaces the whole folder; one that is there,
            not empty and without it, is refused.
        foreign: name of a file to what a folder that holds it is, for kinds that must not be mixed with this one.

    Raises: InputError for something that is no folder, a folder that cannot be written, is another kind of thing, or is one
        of those used, or holds one of them where it is replaced.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_dir():
        raise InputError("cannot be written: it is no folder", file=os.fspath(path), fix="name another folder")
    for file in used:
        read = Path(file).resolve()
        if read == target or (own is not None and read.exists() and read.is_relative_to(target)):
            raise InputError(
                "cannot be written: it would overwrite what is read here",
                file=os.fspath(path),
                fix="name another folder",
            )
    for name, kind in (foreign or {}).items():
        if (target / name).exists():
            raise InputError(f"cannot be written: it is {kind}", file=os.fspath(path), fix="name another folder")
    if own is not None and target.is_dir() and not (target / own).exists() and any(target.iterdir()):
        raise InputError(
            "cannot be written: it exists and holds something else", file=os.fspath(path), fix="name another folder"
        )
    parent = next(folder for folder in (target, *target.parents) if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"cannot be written: {parent} is read-only or no folder", file=os.fspath(path))


def _is_same(target: Path, used: str | os.PathLike[str]) -> bool:
    """Whether both are or will be one file; links are followed."""
    if os.path.realpath(used) == os.fspath(target):
        return True
    return os.path.exists(used) and target.exists() and os.path.samefile(used, target)


def _replace(target: Path, content: bytes) -> None:
    permissions = None
    if target.exists():
        mode = target.stat().st_mode
        # Moving a file onto a device or a pipe would put an end to it: /dev/null would become a plain file.
        if not stat.S_ISREG(mode):
            raise OSError("not a regular file")
        permissions = stat.S_IMODE(mode)
    # The target's name is no part of this one: it may be as long as a name can be.
    partial = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(partial, "xb") as stream:
            if permissions is not None:
                os.chmod(partial, permissions)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


# Content hashes by what changes whenever a file's content does: ctime cannot be set by a person, other than mtime.
_hashes: dict[tuple[int, int, int, int, int], str] = {}


def content_hash(path: str | os.PathLike[str]) -> str:
    """A hash of a file's bytes: two files are the same if their bytes are, whatever their names and times say.

    Hashing reads the whole file, at the disk's speed; a process does it once a file. Not for secrets: the hash is XXH3.

    Raises: InputError for a file that cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            about = os.fstat(stream.fileno())
            key = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            if key in _hashes:
                return _hashes[key]
            hashed = xxhash.xxh3_128()
            while block := stream.read(_READ_AT_ONCE):
                hashed.update(block)
            # A file may change twice within one step of the file system's clock.
            if time.time_ns() - about.st_ctime_ns > _CLOCK_STEP:
                _hashes[key] = hashed.hexdigest()
            return hashed.hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", file=os.fspath(path)) from error


def fingerprint(**parts: Any) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def json_object(content: Any) -> dict[str, Any]:
    """The content, if it is an object: a check for `read_json`. Raises: ValueError for any other content."""
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, found {type(content).__name__}")
    return content


def read_json(path: str | os.PathLike[str], parse: Callable[[Any], Contents]) -> Contents:
    """Reads a JSON file strictly.

    Args:
        parse: makes the result of the file's content, and refuses by TypeError, ValueError or KeyError what does not fit.

    Raises: InputError for a file that is missing, is no JSON, or is refused by `parse`.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        return parse(json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", file=os.fspath(path)) from error
    except (ValueError, TypeError, KeyError, RecursionError, ArithmeticError) as error:  # huge numbers overflow
        raise InputError(f"is broken: {error}", file=os.fspath(path)) from error


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Raises: InputError where the file cannot be written, ValueError for nan or infinity."""
    write_atomically(path, json_text(content))


def json_text(content: Any) -> str:
    """The text of a JSON file, with a line end. Raises: ValueError for nan or infinity."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
