"""The one door to battles: files, globs, Hub ids and rows in memory in, a `datasets.Dataset` out, errors in one line."""

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import datasets
import pyarrow as pa
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from arena_data.containers.byte_streams import COMPRESSIONS, CONTAINERS
from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.file_io import content_hash, fingerprint
from arena_data.quiet import quiet_datasets
from arena_data.reading.builder import CODE_HASH, ArenaBattles
from arena_data.reading.formats import Labels
from arena_data.reading.records import read_records, rows_of
from arena_data.schema import FEATURES

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
ENDINGS = tuple(end + pressed for end in CONTAINERS for pressed in ("", *COMPRESSIONS))


def load_battles(
    sources: Any,
    *,
    labels: Labels = "optional",
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    cache_dir: str | None = None,
    limits: Limits = LIMITS,
) -> datasets.Dataset | datasets.IterableDataset:
    """Battles with the columns of `arena_data.schema.FEATURES`, in the order of the sources and their rows.

    Args:
        sources: one or several of: a file, a glob, an https:// or hf:// URL, a Hub dataset's `user/name`, also with
            `@revision`. Or rows in memory: a DataFrame, a Dataset, or dicts, with the columns that a file may have.
        split, config, revision: of one Hub dataset; without a split, all its files are read.
        labels: "required" for training, "optional" for prediction; see `arena_data.reading.formats.BlockReader`.
        streaming: read rows as they are asked for, with no cache written.
        cache_dir: where the Arrow files go; the default of `datasets` if not given.
        limits: sizes beyond which a file is refused.

    Raises: InputError, one line, for anything that cannot be read.
    """
    if split or config or revision:
        sources = hub_rows(sources, split, config, revision)
    if (rows := rows_of(sources)) is not None:
        if streaming:
            raise InputError("rows in memory cannot be streamed", fix="leave out streaming")
        return read_records(rows, labels, limits)
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    files = [file for source in sources for file in expand(os.fspath(source), streaming)]
    if not files:
        raise InputError("no source of battles given", expected="a file, a glob or a Hub id")
    # A name may hold the characters of a pattern; `expand` has already resolved those that are patterns.
    for file in files:
        _check_name(file)
        if "://" not in file and "::" in os.path.abspath(file):
            raise InputError(
                "has '::' in its name, which `datasets` takes for a chain of URLs", file=file, fix="rename it"
            )
    patterns = [file if "://" in file else glob.escape(os.path.abspath(file)) for file in files]
    try:
        # `datasets` knows a file by its name, size and time; another content under the same three must be read again.
        contents = [] if streaming else [content_hash(file) for file in files if os.path.isfile(file)]
        key = fingerprint(code=CODE_HASH, contents=contents)
        chosen = {name: size for name, size in asdict(limits).items() if size != getattr(LIMITS, name)} or None
        builder = ArenaBattles(
            data_files={"train": patterns}, cache_dir=cache_dir, labels=labels, limits=chosen, hash=key
        )
        if streaming:
            return builder.as_streaming_dataset(split="train")
        with quiet_datasets(), _frugal():
            builder.download_and_prepare()
            if builder.info.splits["train"].num_examples == 0:  # `as_dataset` refuses a split of no rows.
                return datasets.Dataset.from_dict({name: [] for name in FEATURES}, features=FEATURES)
            return builder.as_dataset(split="train")
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, OSError):  # such as a full disk
            raise InputError(_cannot_keep(error.__cause__), file=builder.cache_dir) from error
        raise
    except FileNotFoundError as error:
        raise InputError(f"cannot be opened ({error})", file=files[0]) from error


def hub_rows(source: Any, split: str | None, config: str | None, revision: str | None) -> Any:
    """One split of a Hub dataset, or of a folder of files laid out like one; without a split, the id with its revision.

    Raises: InputError, one line, for what is not one name, or cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        raise InputError("split, config and revision are of one Hub dataset", expected="its user/name")
    name = os.fspath(source)
    if split is None:
        if config is not None:
            raise InputError("a config needs a split", file=name, fix='add split="train"')
        return f"{name}@{revision}"
    try:
        with quiet_datasets():
            return datasets.load_dataset(name, config, split=split, revision=revision)
    except (HfHubHTTPError, datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"split {split!r} cannot be read ({reason})", file=name) from error


def _cannot_keep(error: OSError) -> str:
    return f"the battles read cannot be kept here ({error.strerror or error}); name a folder with room in HF_HOME"


@contextlib.contextmanager
def _frugal() -> Iterator[None]:
    """With Arrow on the system's allocator: its own keeps what parsing freed, half a file's size by the end."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def named_files(sources: Sequence[str]) -> list[str]:
    """The sources with their patterns resolved; nothing is downloaded. Raises: InputError for one that matches no file."""
    return [file for source in sources for file in (expand(source) if glob.has_magic(source) else [source])]


def expand(source: str, streaming: bool = False) -> list[str]:
    """The files a source stands for: itself, what a glob matches (sorted), or the data files of a Hub dataset."""
    if "://" in source:
        return [source]
    _check_name(source)
    if os.path.isdir(source):
        raise InputError("is a directory", file=source, expected="a file", fix=f"name the files: '{source}/*.parquet'")
    if os.path.exists(source):
        if not os.access(source, os.R_OK):
            raise InputError("cannot be read (permission denied)", file=source)
        return [source]
    if glob.has_magic(source):
        matches = matching_files(source)
        if not matches:
            raise InputError("the pattern matches no file", file=source)
        return matches
    if HUB_ID.fullmatch(source) and not source.endswith(ENDINGS):
        return hub_files(source, streaming)
    raise InputError("no such file", file=source, expected="a file, a glob or a Hub dataset's user/name")


def _check_name(name: str) -> None:
    """Raises: InputError for a name that `datasets` and JSON cannot hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = name.encode("utf-8", "backslashreplace").decode()
        raise InputError("has a name that is not UTF-8", file=shown, fix="rename it") from None
    if "\0" in name:
        raise InputError("has a NUL in its name", file=name.replace("\0", "\\0"), fix="rename it")


def local_files(source: str) -> list[str]:
    """The files on this machine that a source stands for; none for a URL or a Hub id, which is not looked up."""
    if "://" in source or os.path.exists(source) or not glob.has_magic(source):
        return [source] if os.path.exists(source) else []
    return matching_files(source)


def matching_files(pattern: str) -> list[str]:
    """The files that match a glob, sorted. `**` goes into each folder once, links to folders that hold it included."""
    before, stars, after = _split_recursive(pattern)
    if not stars:
        return sorted(file for file in glob.glob(pattern) if os.path.isfile(file))
    matches: set[str] = set()
    for start in glob.glob(before) if before else [""]:
        for folder in _folders(start):
            inner = os.path.join(glob.escape(folder), after) if folder else after
            matches.update(matching_files(inner))
    return sorted(matches)


def _split_recursive(pattern: str) -> tuple[str, str, str]:
    """A pattern before its first `**`, that, and what comes after it: a pattern itself."""
    parts = pattern.split(os.sep)
    if "**" not in parts:
        return pattern, "", ""
    place = parts.index("**")
    rest = os.sep.join(part for part in parts[place + 1 :])
    return os.sep.join([*parts[:place], ""]), "**", rest or "*"


def _folders(start: str) -> Iterator[str]:
    """A folder and all below it that are not hidden, each once, real folders before links to them."""
    visited: set[str] = set()
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder or os.curdir)
        if real in visited or not os.path.isdir(real):
            continue
        visited.add(real)
        yield folder
        try:
            entries = [entry for entry in os.scandir(real) if not entry.name.startswith(".") and entry.is_dir()]
        except OSError:
            continue  # as `glob` does with a folder that may not be read
        entries.sort(key=lambda entry: (not entry.is_symlink(), entry.name), reverse=True)
        links = [entry for entry in entries if entry.is_symlink()]
        others = [entry for entry in entries if not entry.is_symlink()]
        waiting = [os.path.join(folder, entry.name) for entry in links] + waiting
        waiting += [os.path.join(folder, entry.name) for entry in others]


def hub_files(repo: str, streaming: bool = False) -> list[str]:
    """The data files of a Hub dataset: downloaded once to the Hub's cache, or as hf:// URLs when streaming.

    Without a network (HF_HUB_OFFLINE=1) an earlier download is used.
    """
    name, _, revision = repo.partition("@")
    try:
        if streaming:
            commit = HfApi().dataset_info(name, revision=revision or None)
            names = sorted(sibling.rfilename for sibling in commit.siblings or [])
            files = [f"hf://datasets/{name}@{commit.sha}/{file}" for file in names if file.endswith(ENDINGS)]
        else:
            folder = snapshot_download(
                name, repo_type="dataset", revision=revision or None, allow_patterns=[f"*{end}" for end in ENDINGS]
            )
            names = matching_files(os.path.join(glob.escape(folder), "**", "*"))
            files = [file for file in names if file.endswith(ENDINGS)]
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise InputError(
            "not on disk, and the Hub cannot be reached", file=repo, fix="download it while online"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"neither a file nor a Hub dataset that can be read ({reason})", file=repo) from error
    # dataset_infos.json and the like describe the data; they are not battles.
    files = [file for file in files if not os.path.basename(file).startswith(("dataset_info", "."))]
    if not files:
        raise InputError("the Hub dataset holds no data files", file=repo, expected=" ".join(CONTAINERS))
    return files
