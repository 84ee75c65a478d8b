"""Ids as text, each once: what a submission tells battles apart by.

Several votes on one battle have one id in MT-Bench's human judgments, and wherever a file names its judges or has a
`question_id` only. Each vote keeps its row, the later ones as `81#2`, `81#3`; so does the same question put to other
models. Any other rows of one id are an error: nobody could tell their probabilities apart.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from arena_data.containers.block import Block
from arena_data.containers.column_names import plain_name
from arena_data.errors import InputError

# What a row says, hashed, and the two models, where its id is only a question's.
Content = tuple[int, tuple[Any, Any] | None]
# By block; read only where an id comes twice.
Contents = Callable[[], Iterator[list[Content]]]


JUDGES = {"judge", "judge_id", "annotator", "annotator_id", "worker", "worker_id"}


@dataclass
class IdRegister:
    """The ids seen so far, block by block, since rows are many and doubles rare."""

    seen: set[str] = field(default_factory=set)
    # Which file, counted and by name, its first row and the ids of all its rows.
    blocks: list[tuple[int, str, int, list[str]]] = field(default_factory=list)
    # By file: the contents of all its rows; by id: how many rows have had it.
    contents: dict[int, list[Content]] = field(default_factory=dict)
    votes: dict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))

    def add(self, ids: list[Any], file: str, file_index: int, first_row: int, contents: Contents | None) -> list[str]:
        """Ids as text; rows without one are named by file and row.

        Args:
            contents: reads the file from its start and gives the content of its rows, block by block; None for a file
                that holds each battle once.

        Raises: InputError for an id that no submission can hold, or one seen before with another battle.
        """
        names = [_id_text(value, file, row) or f"{file_index}-{row}" for row, value in enumerate(ids, start=first_row)]
        fresh = set(names)
        if len(fresh) < len(names) or not self.seen.isdisjoint(fresh):
            names = self._numbered(names, file, file_index, first_row, contents)
            fresh = set(names)
        self.blocks.append((file_index, file, first_row, names))
        self.seen |= fresh
        return names

    def _numbered(
        self, names: list[str], file: str, file_index: int, first_row: int, contents: Contents | None
    ) -> list[str]:
        """The names, with a number after each that repeats the battle of an earlier row of the file."""
        if contents is not None and file_index not in self.contents:
            self.contents[file_index] = [content for block in contents() for content in block]
        by_row = self.contents.get(file_index)
        places = {
            name: (index, other, row)
            for index, other, start, earlier in self.blocks
            for row, name in enumerate(earlier, start=start)
        }
        numbered: list[str] = []
        for row, name in enumerate(names, start=first_row):
            unique = name
            if name in places:
                index, _, first = places[name]
                if by_row is None or index != file_index or not _may_share_id(by_row[first - 1], by_row[row - 1]):
                    raise _doubled(file, row, name, places[name])
                self.votes[name] += 1
                unique = f"{name}#{self.votes[name]}"
                if unique in places:
                    raise _doubled(file, row, unique, places[unique])
            places[unique] = (file_index, file, row)
            numbered.append(unique)
        return numbered


def has_votes(block: Block) -> bool:
    """Whether the rows are votes rather than battles: they name a judge, or a question instead of a battle."""
    return "id" not in block.columns or not JUDGES.isdisjoint(map(plain_name, block.names))


def content_of(prompt: Sequence[str | None], response_a: Sequence[str | None], response_b: Sequence[str | None]) -> int:
    """A hash of a battle's texts."""
    text = repr((list(prompt), list(response_a), list(response_b)))
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


def _may_share_id(one: Content, other: Content) -> bool:
    return one[0] == other[0] or one[1] != other[1]


def _id_text(value: Any, file: str, row: int) -> str:
    """An id as text; empty where there is none. Raises: InputError for what is no text or number, or no UTF-8."""
    if type(value) is str:
        if value.isascii():
            return value
    elif value is None or value != value:
        return ""
    elif isinstance(value, list | dict | tuple):
        raise InputError(
            "an id that is a list or an object",
            file=file,
            row=row,
            column="id",
            found=value,
            expected="a text or a number",
        )
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(
            "an id that is too large a number", file=file, row=row, column="id", found=value, fix="write it as a text"
        )
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            "an id with half of a surrogate pair", file=file, row=row, column="id", found=text, expected="Unicode text"
        ) from None
    return text


def _doubled(file: str, row: int, name: str, place: tuple[int, str, int]) -> InputError:
    before = f"row {place[2]}" if place[1] == file else f"{place[1]}, row {place[2]}"
    return InputError(
        f"duplicate id, the same as in {before}",
        file=file,
        row=row,
        column="id",
        found=name,
        fix="give each battle an id of its own",
    )
