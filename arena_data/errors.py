"""The one error of this package: a line a person can act on.

Bad input is reported with the file, the row, the column, what was found, what was expected and what to do, in one line.
Entry scripts print it and exit with status 2 before any model is loaded.
"""


def _shorten(value: object, limit: int = 80) -> str:
    """The repr of a value on one line, cut in the middle so that a megabyte of text stays readable."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[-limit // 4 :]}"


class InputError(ValueError):
    """Input that cannot be read as battles.

    Args:
        what: what is wrong, in a few words.
        file: path or URL of the file.
        row: number of the data row, from 1 (the header does not count).
        column: name of the column.
        found: the offending value; shown shortened.
        expected: what would have been right.
        fix: what the reader should do.
    """

    _MISSING = object()

    def __init__(
        self,
        what: str,
        *,
        file: object = None,
        row: int | None = None,
        column: str | None = None,
        found: object = _MISSING,
        expected: str | None = None,
        fix: str | None = None,
    ):
        place = [str(file)] if file is not None else []
        if row is not None:
            place.append(f"row {row}")
        if column is not None:
            place.append(f"column {column!r}")
        parts = [f"{', '.join(place)}: {what}" if place else what]
        if found is not self._MISSING:
            parts.append(f"found {_shorten(found)}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if fix is not None:
            parts.append(fix)
        super().__init__("; ".join(parts).replace("\n", " "))
        self.file, self.row, self.column = file, row, column
