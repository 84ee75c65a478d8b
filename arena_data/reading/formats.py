"""A block of raw rows in, battles' columns out: three families of columns hold all the formats.

| columns | family |
| --- | --- |
| prompt, response_a, response_b | Kaggle LMSYS (JSON lists in cells), WSDM Cup (plain text), JSON Lines (lists) |
| conversation_a, conversation_b | the arena releases on the Hub |
| chosen, rejected, maybe prompt | TRL preference data |

The verdict is read from whichever of these the row has: `votes`, three one-hot columns, `winner`.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from arena_data.errors import InputError
from arena_data.reading import json_lists, verdicts
from arena_data.reading.conversations import as_messages, turns
from arena_data.reading.files import Block
from arena_data.reading.json_rows import parse_json
from arena_data.reading.preferences import chosen_is_a, sides

Labels = Literal["required", "optional"]
Turns = list[str | None]

ONE_HOT = ("winner_model_a", "winner_model_b", "winner_tie")
TEACHER = ("teacher_model_a", "teacher_model_b", "teacher_tie")
FAMILIES = {
    "conversations": ("conversation_a", "conversation_b"),
    "preferences": ("chosen", "rejected"),
    "texts": ("prompt", "response_a", "response_b"),
}
IDS = ("id", "question_id")
MODELS = ("model_a", "model_b", "chosen_model", "rejected_model")
WANTED = frozenset(
    {*IDS, *MODELS, *ONE_HOT, *TEACHER, "winner", "votes", "teacher", "language", "source", "prompt"}
    | {name for names in FAMILIES.values() for name in names}
)
JSON_LIST = 'a JSON list of texts, such as ["Hello"]'


# A run of rows: drafts that still need cleaning, or the three columns as Arrow parsed them, with nothing odd in them.
Segment = list["Draft"] | list[pa.ListArray]


@dataclass
class Draft:
    """One row, read but not yet cleaned."""

    prompt: Turns
    response_a: Turns
    response_b: Turns
    oddities: set[str]
    chosen_is_a: bool | None = None


def family_of(columns: Sequence[str], file: str) -> str:
    """Raises: InputError where the columns are of no known family, or one of a family is missing."""
    for family, needed in FAMILIES.items():
        if set(needed) <= set(columns):
            some = [name for name in ONE_HOT if name in columns]
            if some and len(some) < 3:
                missing = next(name for name in ONE_HOT if name not in columns)
                raise InputError("missing column", file=file, column=missing, expected=f"all of {', '.join(ONE_HOT)}")
            return family
    nearest = max(FAMILIES.values(), key=lambda needed: sum(name in columns for name in needed) / len(needed))
    missing = next(name for name in nearest if name not in columns)
    known = "; or ".join(", ".join(needed) for needed in FAMILIES.values())
    raise InputError("missing column", file=file, column=missing, found=list(columns)[:12], expected=known)


class BlockReader:
    """Reads the blocks of one file. Keeps what the first rows told: the family, and whether cells are JSON lists.

    Args:
        file: what errors name.
        labels: with `required`, a row without a verdict or with a cell that does not parse is an error; with
            `optional` its verdict is null and its cell is one turn of raw text.
    """

    def __init__(self, file: str, labels: Labels):
        self.file, self.labels = file, labels
        self.stem = PurePosixPath(file).name.split(".")[0]
        self.json_cells: bool | None = None

    def read(self, block: Block) -> tuple[list[Segment], dict[str, list[Any]]]:
        """The rows' texts, as segments in order, and their other columns.

        These are id, model_a, model_b, language, source, verdict and teacher.
        """
        names = list(block.columns)
        family = family_of(names, self.file)
        if family == "texts":
            others = self._others(block)
            self._require(block, others["verdict"])
            return list(self._texts(block)), others
        drafts = self._conversations(block) if family == "conversations" else self._preferences(block)
        others = self._others(block)
        if family == "preferences":
            others["verdict"] = [verdicts.A if draft.chosen_is_a else verdicts.B for draft in drafts]
            if "chosen_model" in names and "rejected_model" in names:
                pairs = zip(block.columns["chosen_model"], block.columns["rejected_model"], drafts, strict=True)
                placed = [(won, lost) if draft.chosen_is_a else (lost, won) for won, lost, draft in pairs]
                others |= {"model_a": [a for a, _ in placed], "model_b": [b for _, b in placed]}
        self._require(block, others["verdict"])
        return [drafts], others

    def _others(self, block: Block) -> dict[str, list[Any]]:
        names = list(block.columns)
        empty = [None] * len(block)
        column = block.columns.get
        ids = next((column(name) for name in IDS if name in names), None) or empty
        teachers = self._teachers(block)
        return {
            "id": ids,
            "model_a": column("model_a") or empty,
            "model_b": column("model_b") or empty,
            "language": column("language") or empty,
            "source": [source or self.stem for source in column("source") or empty],
            "verdict": self._verdicts(block, teachers),
            "teacher": teachers,
        }

    def _error(
        self, block: Block, index: int, column: str, what: str, error: ValueError, fix: str | None = None
    ) -> InputError:
        found = block.columns[column][index]
        return InputError(
            what, file=self.file, row=block.row_number(index), column=column, found=found, expected=str(error), fix=fix
        )

    def _each(self, block: Block, column: str, what: str, read: Callable[[Any], Any]) -> list[Any]:
        """`read` over a column, with a ValueError turned into a InputError that says where."""
        values = []
        for index, value in enumerate(block.columns[column]):
            try:
                values.append(read(value))
            except ValueError as error:
                raise self._error(block, index, column, what, error) from None
        return values

    # -- the three families -------------------------------------------------------------------------------------

    def _texts(self, block: Block) -> Iterator[Segment]:
        names = FAMILIES["texts"]
        if self.json_cells is None and len(block):
            self.json_cells = "winner_model_a" in block.columns or _mostly_json_lists(
                [block.columns[name] for name in names]
            )
        if self.json_cells and block.texts and not block.repaired:
            for start, stop, lists in json_lists.segments([block.texts[name] for name in names]):
                yield lists if lists is not None else [self._text_draft(block, row) for row in range(start, stop)]
        else:
            yield [self._text_draft(block, row) for row in range(len(block))]

    def _text_draft(self, block: Block, row: int) -> Draft:
        texts: list[Turns] = []
        oddities: set[str] = set()
        for column in FAMILIES["texts"]:
            cell = block.columns[column][row]
            try:
                texts.append(_cell_turns(cell, bool(self.json_cells)))
            except ValueError as error:
                if self.labels == "required":
                    fix = "repair the cell; with plain text instead of JSON lists use a `winner` column"
                    raise self._error(block, row, column, "not a JSON list of texts", error, fix) from None
                texts.append([cell if isinstance(cell, str) else repr(cell)])
                oddities.add("unparsed_json")
            if (column, row) in block.repaired:
                oddities.add("invalid_utf8")
        return Draft(texts[0], texts[1], texts[2], oddities)

    def _conversations(self, block: Block) -> list[Draft]:
        def read(value: Any) -> tuple[Turns, Turns]:
            return turns(as_messages(value)) if value is not None else ([None], [None])

        both = [self._each(block, column, "not a conversation", read) for column in FAMILIES["conversations"]]
        drafts = []
        for (prompt_a, response_a), (prompt_b, response_b) in zip(*both, strict=True):
            prompt = prompt_a if prompt_a != [None] else prompt_b
            differ = prompt_a != prompt_b and [None] not in (prompt_a, prompt_b)
            drafts.append(Draft(prompt, response_a, response_b, {"prompts_differ"} if differ else set()))
        return drafts

    def _preferences(self, block: Block) -> list[Draft]:
        prompts = block.columns.get("prompt") or [None] * len(block)
        drafts = []
        rows = zip(prompts, block.columns["chosen"], block.columns["rejected"], strict=True)
        for index, (prompt, chosen, rejected) in enumerate(rows):
            try:
                asked, won, asked_rejected, lost = sides(prompt, chosen, rejected)
            except ValueError as error:
                raise self._error(block, index, "chosen", "not preference data", error) from None
            is_a = chosen_is_a(asked, won, lost)
            oddities = {"prompts_differ"} if asked != asked_rejected else set()
            drafts.append(Draft(asked, won if is_a else lost, lost if is_a else won, oddities, is_a))
        return drafts

    # -- verdicts -----------------------------------------------------------------------------------------------

    def _verdicts(self, block: Block, teachers: list[Any]) -> list[verdicts.Verdict | None]:
        found: list[verdicts.Verdict | None] = [None] * len(block)
        readers: list[list[Any]] = []
        if "votes" in block.columns:
            readers.append(self._each(block, "votes", "unknown votes", _nullable(verdicts.from_votes)))
        if "winner_model_a" in block.columns:
            readers.append(self._one_hot(block, ONE_HOT))
        if "winner" in block.columns:
            readers.append(self._each(block, "winner", "unknown verdict", _nullable(verdicts.from_winner)))
        readers.append(teachers)
        for values in readers:
            found = [old if old is not None else new for old, new in zip(found, values, strict=True)]
        return found

    def _require(self, block: Block, found: list[Any]) -> None:
        if self.labels != "required" or None not in found:
            return
        columns = [name for name in ("votes", ONE_HOT[0], "winner", "teacher", TEACHER[0]) if name in block.columns]
        if not columns:
            ways = f"{', '.join(ONE_HOT)}; or winner; or votes; or teacher"
            raise InputError("no column of verdicts", file=self.file, found=list(block.columns), expected=ways)
        row = block.row_number(found.index(None))
        raise InputError(
            "no verdict",
            file=self.file,
            row=row,
            column=columns[0],
            found=None,
            expected="a verdict",
            fix="label the row or leave it out",
        )

    def _one_hot(self, block: Block, columns: tuple[str, str, str]) -> list[verdicts.Verdict | None]:
        rows: list[verdicts.Verdict | None] = []

        # A one-hot vote has three possible values: nearly every row is one of them.
        @functools.lru_cache
        def read(cells: tuple[Any, ...]) -> verdicts.Verdict | None:
            return None if set(cells) <= {None, ""} else verdicts.from_probabilities(cells)

        for index, cells in enumerate(zip(*(block.columns[name] for name in columns), strict=True)):
            try:
                rows.append(read(cells))
            except (TypeError, ValueError) as error:  # TypeError: a cell of JSON that is a list or an object.
                raise InputError(
                    "not a verdict",
                    file=self.file,
                    row=block.row_number(index),
                    column=", ".join(columns),
                    found=cells,
                    expected=str(error) if isinstance(error, ValueError) else "three numbers, for A, B and tie",
                ) from None
        return rows

    def _teachers(self, block: Block) -> list[verdicts.Verdict | None]:
        if all(name in block.columns for name in TEACHER):
            return self._one_hot(block, TEACHER)
        if "teacher" in block.columns:
            read = _nullable(verdicts.from_probabilities)
            return self._each(block, "teacher", "not a teacher's probabilities", read)
        return [None] * len(block)


def _nullable(read: Callable[[Any], verdicts.Verdict]) -> Callable[[Any], verdicts.Verdict | None]:
    """`read`, with null cells left null and JSON text (as CSV holds it) parsed where it is no plain name."""

    def read_cell(cell: Any) -> verdicts.Verdict | None:
        if cell is None or cell == "":
            return None
        return read(parse_json(cell) if isinstance(cell, str) and cell[:1] in "[{" else cell)

    return read_cell


def _cell_turns(cell: Any, is_json: bool) -> Turns:
    """The turns in a cell. Raises: ValueError where they are not texts."""
    if isinstance(cell, str) and is_json and cell and not cell.isspace():
        try:
            cell = parse_json(cell)
        except ValueError:
            raise ValueError(JSON_LIST) from None
        if isinstance(cell, str):
            raise ValueError(JSON_LIST)
    if cell is None or isinstance(cell, str):
        return [cell]
    if not isinstance(cell, list) or not json_lists.TURN_TYPES.issuperset(map(type, cell)):
        raise ValueError(JSON_LIST)
    return cell


def _mostly_json_lists(columns: list[list[Any]]) -> bool:
    """Whether columns of texts hold JSON lists: test.csv of the LMSYS competition has the columns of WSDM's."""
    texts = [cell for column in columns for cell in column[:300] if isinstance(cell, str)]

    def is_list(text: str) -> bool:
        try:
            return text.startswith("[") and isinstance(_cell_turns(text, True), list)
        except ValueError:
            return False

    return sum(map(is_list, texts)) * 2 > len(texts)
