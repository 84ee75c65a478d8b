"""Submissions: probabilities by battle id, as the competitions take them: `id,winner_model_a,winner_model_b,winner_tie`.

Written in the order of the battles, each row summing to 1 as printed; read back from any file in that format, our own or
not, with verdicts (one-hot or fractions) read the same way.
"""

import csv
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from arena_data.errors import InputError
from arena_data.file_io import write_atomically
from arena_data.schema import SUM_TOLERANCE

COLUMNS = ("winner_model_a", "winner_model_b", "winner_tie")
NEEDS_QUOTES = re.compile(r'[",\r\n]|^\s|\s$')
DIGITS = 9  # three such numbers sum to 1 within 2e-9

FloatArray = npt.NDArray[np.float64]


def write_submission(
    path: str | os.PathLike[str],
    ids: Sequence[str],
    probabilities: npt.ArrayLike,
    extra: Mapping[str, npt.ArrayLike] | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Writes a submission whole or not at all.

    Args:
        ids: [n], as the input gave them.
        probabilities: float [n, 3], P(A), P(B), P(tie), each row summing to 1.
        extra: more columns by name, float [n] each, such as rewards.
        texts: columns of text by name, [n] each, after those.

    Raises: InputError where the file cannot be written; ValueError for numbers that are not probabilities.
    """
    checked = np.asarray(probabilities, dtype=np.float64)
    if checked.shape != (len(ids), 3):
        raise ValueError(f"probabilities have shape {checked.shape}; expected ({len(ids)}, 3)")
    if not (np.isfinite(checked).all() and (checked >= 0).all() and np.allclose(checked.sum(axis=1), 1, atol=1e-6)):
        raise ValueError("probabilities must be finite, at least 0, and sum to 1 in each row")
    more = {name: np.asarray(values, dtype=np.float64) for name, values in (extra or {}).items()}
    lines = [",".join(map(quoted, ("id", *COLUMNS, *more, *(texts or {}))))]
    for row, name in enumerate(ids):
        values = [f"{value:.{DIGITS}f}" for value in checked[row]]
        values += [f"{column[row]:.6g}" for column in more.values()]
        values += [quoted(column[row]) for column in (texts or {}).values()]
        lines.append(",".join([quoted(name), *values]))
    write_atomically(path, "\n".join([*lines, ""]))


def quoted(text: str) -> str:
    """A cell of CSV. The csv module leaves a carriage return unquoted where lines end otherwise, and loses it."""
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if NEEDS_QUOTES.search(text) else text


def read_submission(path: str | os.PathLike[str]) -> tuple[list[str], FloatArray]:
    """Ids and float64 [n, 3], rows divided by their sums. Further columns are passed over.

    Probabilities may be rounded, as 0.33 or in bfloat16: their sum may differ from 1 by `SUM_TOLERANCE`.

    Raises: InputError for a missing column, a doubled or empty id, or a row that is not three shares of 1.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in ("id", *COLUMNS) if name not in (reader.fieldnames or [])]:
                raise InputError(
                    f"column {missing[0]!r} is missing",
                    file=path,
                    found=list(reader.fieldnames or []),
                    expected=", ".join(("id", *COLUMNS)),
                )
            ids: dict[str, int] = {}
            values: list[list[float]] = []
            for row, cells in enumerate(reader, start=1):
                name = cells["id"]
                if not name or name in ids:
                    what = "id is empty" if not name else f"id is there already, in row {ids[name]}"
                    raise InputError(what, file=path, row=row, column="id", found=name, expected="an id of its own")
                ids[name] = row
                values.append([_share(path, row, column, cells[column]) for column in COLUMNS])
                total = sum(values[-1])
                if abs(total - 1) > SUM_TOLERANCE:
                    raise InputError(
                        f"the three shares do not sum to 1 but to {total:g}",
                        file=path,
                        row=row,
                        found=values[-1],
                        expected=f"a sum of 1, within {SUM_TOLERANCE:g}",
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error})", file=path) from error
    shares = np.asarray(values, dtype=np.float64).reshape(-1, 3)
    return list(ids), shares / shares.sum(axis=1, keepdims=True)


def align(ids: Sequence[str], file_ids: Sequence[str], values: FloatArray, file: str | os.PathLike[str]) -> FloatArray:
    """The rows of `values`, whose ids are `file_ids`, in the order of `ids`; rows of other ids are left out.

    Raises: InputError for an id that `file` has not.
    """
    place = {name: row for row, name in enumerate(file_ids)}
    if missing := [name for name in ids if name not in place]:
        raise InputError(
            f"{len(missing)} of {len(ids)} ids are missing",
            file=file,
            column="id",
            expected=f"{missing[0]!r} and so on",
        )
    return values[[place[name] for name in ids]]


def _share(path: object, row: int, column: str, cell: str | None) -> float:
    try:
        value = float(cell if cell is not None else "")
        if np.isfinite(value) and value >= 0:
            return value
    except ValueError:
        pass
    raise InputError(
        "not a share", file=path, row=row, column=column, found=cell, expected="a number from 0 to 1"
    ) from None
