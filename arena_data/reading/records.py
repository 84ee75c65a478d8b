"""Battles from rows in memory: DataFrames, `datasets.Dataset`, lists or iterables of dicts, read as a file's rows are.

The rows are written to a temporary file of JSON Lines and read by what reads files, so that every layout of columns that a
file may have is read here too, with the same errors.
"""

import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import orjson
import pyarrow as pa

from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.reading.builder import ArenaBattles
from arena_data.reading.formats import Labels
from arena_data.schema import FEATURES

NAME = "memory"  # what errors name, and the battles' source
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE


def rows_of(data: Any) -> Iterable[Any] | None:
    """The rows of data in memory; None for what names files: a text, a path, or several of them.

    Raises: InputError for a dict of splits, or for what is neither.
    """
    if isinstance(data, str | os.PathLike):
        return None
    if isinstance(data, Mapping):
        raise InputError(
            "battles as a dict", found=sorted(map(str, data))[:5], expected="rows", fix="name a split, or list its rows"
        )
    if isinstance(data, datasets.Dataset | datasets.IterableDataset):
        return data
    if hasattr(data, "to_dicts"):  # polars
        rows: Iterable[Any] = data.to_dicts()
        return rows
    if hasattr(data, "to_dict"):  # pandas
        rows = data.to_dict("records")
        return rows
    if not isinstance(data, Iterable):
        raise InputError("no battles", found=data, expected="files, a DataFrame, a Dataset, or dicts")
    if isinstance(data, list | tuple):
        return None if all(isinstance(row, str | os.PathLike) for row in data) else data
    return data


def read_records(rows: Iterable[Any], labels: Labels = "optional", limits: Limits = LIMITS) -> datasets.Dataset:
    """Battles with the columns of `arena_data.schema.FEATURES`, in the order of the rows; nothing is kept on disk.

    Args:
        rows: dicts, with the columns that a file of battles may have; NaN counts as nothing.
        labels: as `arena_data.loading.load_battles` takes it.

    Raises: InputError, one line, with the row, for what cannot be read.
    """
    if isinstance(rows, datasets.Dataset) and rows.features == FEATURES:
        return _labelled(rows, labels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{NAME}.jsonl")
        with path.open("wb") as stream:
            stream.writelines(_lines(rows))
        if not path.stat().st_size:
            return datasets.Dataset.from_dict({name: [] for name in FEATURES}, features=FEATURES)
        chosen = {name: size for name, size in asdict(limits).items() if size != getattr(LIMITS, name)} or None
        builder = ArenaBattles(data_files={"train": [str(path)]}, cache_dir=folder, labels=labels, limits=chosen)
        tables = [table for _, table in builder._generate_tables([(NAME, str(path))])]
    # A random fingerprint: hashing the table would take longer than reading it.
    info = datasets.DatasetInfo(features=FEATURES)
    return datasets.Dataset(pa.concat_tables(tables), info, fingerprint=secrets.token_hex(8))


def _labelled(battles: datasets.Dataset, labels: Labels) -> datasets.Dataset:
    """Battles that are read already. Raises: InputError for one without a verdict where each needs it."""
    if labels == "required" and None in (verdicts := battles["verdict"][:]):
        raise InputError(
            "has no verdict", file=NAME, row=verdicts.index(None) + 1, expected="a verdict for each battle"
        )
    return battles


def _lines(rows: Iterable[Any]) -> Iterator[bytes]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise InputError("not a dict", file=NAME, row=number, found=row, expected="a dict of columns")
        try:
            yield orjson.dumps(dict(row), default=_plain, option=_OPTIONS)
        except TypeError:
            # orjson refuses half of a surrogate pair and whole numbers beyond 64 bits; files may hold both.
            try:
                yield json.dumps(dict(row), default=_plain).encode() + b"\n"
            except (TypeError, ValueError) as error:
                raise InputError(f"cannot be written as JSON ({error})", file=NAME, row=number) from None


def _plain(value: Any) -> Any:
    """What JSON has for a value that it does not know. Raises: TypeError where it has nothing."""
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' own nothing
        return None
    if hasattr(value, "tolist"):  # numpy's arrays of objects, and its scalars
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__}")
