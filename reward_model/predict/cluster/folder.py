"""An output folder on local disk or any store, and the battles' files there. A file in it is whole or absent.

On disk a file is written beside its place and moved there in one step. An object store shows an object only when all of
it has arrived, so there it is written as it is.
"""

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from arena_data.containers.stores import store_of
from arena_data.errors import InputError
from arena_data.file_io import check_folder, write_bytes_atomically
from arena_data.loading import ENDINGS, expand, matching_files
from reward_model.errors import one_line

# What a store says of an object that changes with its content; the first that is there counts.
_VERSIONS = ("ETag", "etag", "md5Hash", "commit", "LastModified", "last_modified", "mtime")


@dataclass(frozen=True)
class Folder:
    """A folder by its absolute path or its URL, as plain data, so that every machine can open it."""

    name: str

    @classmethod
    def of(cls, name: str) -> "Folder":
        """Raises: InputError for memory that no other process can see."""
        return cls(_absolute(name).rstrip("/") or "/")

    def write(self, file: str, content: bytes) -> None:
        """Raises: InputError where it cannot be written."""
        place = f"{self.name}/{file}"
        if "://" not in place:
            check_folder(Path(place).parent)
            write_bytes_atomically(place, content)
            return
        store, path = store_of(place)
        try:
            store.makedirs(path.rpartition("/")[0], exist_ok=True)
            store.pipe_file(path, content)
        except Exception as error:  # each store has errors of its own
            raise InputError(f"cannot be written ({one_line(error)})", file=place) from error

    def read(self, file: str) -> bytes | None:
        """The file's content, None where there is none. Raises: InputError where it cannot be read."""
        place = f"{self.name}/{file}"
        try:
            if "://" not in place:
                return Path(place).read_bytes()
            store, path = store_of(place)
            return bytes(store.cat_file(path))
        except FileNotFoundError:
            return None
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"cannot be read ({one_line(error)})", file=place) from error

    def names(self, inner: str = "") -> set[str]:
        """Names of what lies directly in it, or in a folder of it. Raises: InputError where it cannot be read."""
        place = f"{self.name}/{inner}".rstrip("/")
        try:
            if "://" not in place:
                return set(os.listdir(place))
            store, path = store_of(place)
            return {str(name).rstrip("/").rpartition("/")[2] for name in store.ls(path, detail=False)}
        except FileNotFoundError:
            return set()
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"cannot be read ({one_line(error)})", file=place) from error


def _absolute(name: str) -> str:
    """The URL or the absolute path. Raises: InputError for memory that no other process can see."""
    scheme = urlsplit(name).scheme if "://" in name else ""
    if scheme == "memory":
        raise InputError(
            "is in the memory of this process, and Ray's workers are others", file=name, fix="name a disk or a store"
        )
    return (
        os.path.abspath(name.removeprefix("file://") if scheme == "file" else name) if scheme in ("", "file") else name
    )


def input_files(sources: Sequence[str]) -> list[str]:
    """The files of battles that the sources stand for, in order: files, globs, folders, URLs of them, Hub datasets.

    Raises: InputError for a source without any, or a file that comes twice.
    """
    files = [file for source in sources for file in _files_of(_source(source))]
    if doubled := next((file for place, file in enumerate(files) if file in files[:place]), None):
        raise InputError("is named twice in --input", file=doubled)
    return files


def check_apart(folder: Folder, sources: Sequence[str]) -> None:
    """Raises: InputError for an output folder in or around a folder that is read, which would read partitions as battles."""
    for source in map(_source, sources):
        first, second = sorted([folder.name, source.rstrip("/")], key=len)
        if second == first or second.startswith(f"{first}/"):
            raise InputError(
                "the output folder and the input lie in each other",
                file=folder.name,
                found=source,
                fix="name another --output",
            )


def _source(source: str) -> str:
    looks_local = "://" not in source and (os.path.exists(source) or glob.has_magic(source))
    return _absolute(source) if looks_local or "://" in source else source


def _files_of(source: str) -> list[str]:
    if "://" in source:
        return _remote_files(source)
    if not os.path.isdir(source):
        return expand(source, streaming=True)
    files = matching_files(os.path.join(glob.escape(source), "**", "*"))
    return _battles_among(source, files)


def _remote_files(source: str) -> list[str]:
    scheme, _, rest = source.partition("://")
    if scheme in ("http", "https", "hf"):  # their folders are pages, and a Hub dataset is named by user/name
        return [source]
    place, question, query = rest.partition("?")
    store, path = store_of(source)
    try:
        if "*" in place or "[" in place:
            paths = store.glob(path)
        elif store.isdir(path):
            paths = store.find(path)
        else:
            return [source]
    except Exception as error:
        raise InputError(f"cannot be listed ({one_line(error)})", file=source) from error
    return [f"{scheme}://{file}{question}{query}" for file in _battles_among(source, sorted(map(str, paths)))]


def _battles_among(source: str, paths: Sequence[str]) -> list[str]:
    """Those of the paths that are files of battles by their names. Raises: InputError where there is none."""
    names = [path for path in paths if path.endswith(ENDINGS) and not os.path.basename(path).startswith((".", "_"))]
    if not names:
        raise InputError("holds no file of battles", file=source, expected=" ".join(ENDINGS))
    return names


def file_version(file: str) -> dict[str, Any]:
    """What tells a file from another one of its name without reading it: its size, and its times or its store's tag.

    The time of the inode's change counts on disk: no copy can keep it.

    Raises: InputError for a file that is not there.
    """
    try:
        if "://" not in file:
            about = os.stat(file)
            return {"bytes": about.st_size, "version": f"{about.st_mtime_ns}-{about.st_ctime_ns}"}
        store, path = store_of(file)
        info: Mapping[str, Any] = store.info(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot be opened ({one_line(error)})", file=file) from error
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    return {"bytes": info.get("size"), "version": version}
