"""A few thousand rows of one file, as columns of plain Python values: formats need not know what file they came from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from arena_data.errors import InputError


@dataclass
class Block:
    """Some rows of one file. `first_row` is the number, from 1, of the first of them; all columns are equally long."""

    file: str
    first_row: int
    # By name as `arena_data.containers.column_names.plain_name` has it; the wanted ones only.
    columns: Mapping[str, list[Any]]
    # The names of all columns, as the file writes them.
    names: tuple[str, ...] = ()
    # The same cells as Arrow has them, where the file is of text cells (CSV); empty elsewhere.
    texts: Mapping[str, pa.StringArray] = field(default_factory=dict)
    # Cells that were not UTF-8 and were repaired, as (column, index in the block).
    repaired: set[tuple[str, int]] = field(default_factory=set)
    # What is odd about all of its rows, by the names of `arena_data.reading.cleaning.ODDITIES`.
    oddities: frozenset[str] = frozenset()

    def __len__(self) -> int:
        texts = next(iter(self.texts.values()), None)
        return len(texts) if texts is not None else len(next(iter(self.columns.values()), []))

    def row_number(self, index: int) -> int:
        return self.first_row + index

    def error(self, index: int, column: str, what: str, expected: object, fix: str | None = None) -> InputError:
        """An error about one cell."""
        return InputError(
            what,
            file=self.file,
            row=self.row_number(index),
            column=column,
            found=self.columns[column][index],
            expected=str(expected),
            fix=fix,
        )

    def each(self, column: str, what: str, read: Callable[[Any], Any]) -> list[Any]:
        """`read` over a column. Raises: InputError, which says where, for a ValueError, which says what was expected."""
        values = []
        for index, value in enumerate(self.columns[column]):
            try:
                values.append(read(value))
            except ValueError as error:
                raise self.error(index, column, what, error) from None
        return values


class TextColumns(Mapping[str, list[Any]]):
    """Arrow columns as lists of Python values, each made when it is first asked for."""

    def __init__(self, texts: Mapping[str, pa.StringArray]):
        self._texts, self._lists = texts, dict[str, list[Any]]()

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._lists:
            self._lists[name] = self._texts[name].to_pylist()
        return self._lists[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)
