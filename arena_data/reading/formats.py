"""A block of raw rows in, battles' columns out, whatever family of columns it has (`arena_data.reading.families`).

The verdict is read from whichever of these the row has: `votes`, three one-hot columns, `winner` or `verdict`; `tie`
beside them must not contradict them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import pyarrow as pa

from arena_data.containers.block import Block
from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.reading import earlier_turns, json_lists, verdicts
from arena_data.reading.conversations import as_messages, turns
from arena_data.reading.families import FAMILIES, IDS, SESSIONS, VOTERS, WANTED, family_of, names_text
from arena_data.reading.files import read_blocks
from arena_data.reading.grades import GRADES, read_grades
from arena_data.reading.preferences import SCORES, chosen_is_a, one_answer, outcome, sides
from arena_data.reading.text_cells import Style, cell_style, is_turns, parse_cell

Labels = Literal["required", "optional"]
Turns = list[str | None]

JSON_LIST = 'a JSON list of texts, such as ["Hello"]'


# A run of rows: drafts that still need cleaning, or the three columns as Arrow parsed them, with nothing odd in them.
Segment = list["Draft"] | list[pa.ListArray]


@dataclass
class Draft:
    """One row, read but not yet cleaned. `verdict` is set where the family says it, as preferences do."""

    prompt: Turns
    response_a: Turns
    response_b: Turns
    oddities: set[str]
    chosen_is_a: bool | None = None
    verdict: verdicts.Verdict | None = None


class BlockReader:
    """Reads the blocks of one file. Keeps what the file told as a whole: how its text cells hold turns.

    Args:
        file: what errors name.
        labels: with `required`, a row without a verdict or with a cell that does not parse is an error; with
            `optional` its verdict is null and its cell is one turn of raw text.
        path: where the file is read from, if it is another name.
    """

    def __init__(self, file: str, labels: Labels, path: str | None = None, limits: Limits = LIMITS):
        self.file, self.labels, self.path, self.limits = file, labels, path or file, limits
        self.stem = PurePosixPath(file).name.split(".")[0]
        self.style: Style | None = None

    def read(self, block: Block) -> tuple[list[Segment], dict[str, list[Any]]]:
        """The rows' texts, as segments in order, and their other columns.

        These are id, model_a, model_b, language, source, session, voter, verdict, both_bad, teacher and strength.
        """
        block.file = self.file
        family = family_of(list(block.columns), self.file, block.names)
        if family == "texts":
            others = self._others(block)
            self._require(block, others["verdict"])
            return list(self._texts(block)), others
        if family == "preferences":
            drafts, others = self._preferences(block)
        else:
            drafts, others = self._conversations(block), self._others(block)
        self._require(block, others["verdict"])
        return [drafts], others

    def _cell_style(self, block: Block, columns: Sequence[str], known_lists: bool) -> Style:
        """How the file's cells hold turns: decided once, over all of its rows."""
        if self.style is None:
            if not len(block):
                return "plain"
            self.style = cell_style(
                block, columns, known_lists, lambda: read_blocks(self.path, WANTED.intersection(columns), self.limits)
            )
        return self.style

    def _others(self, block: Block, *, chosen: bool = False) -> dict[str, list[Any]]:
        names = list(block.columns)
        empty = [None] * len(block)
        column = block.columns.get
        ids = next((column(name) for name in IDS if name in names), None) or empty
        teachers = verdicts.teachers_verdicts(block)
        # In preference data it is the content that says whether the chosen answer is A or B: no teacher's word counts.
        people = verdicts.people_verdicts(block, chosen=chosen)
        strengths, people = read_grades(block, people, chosen=chosen, required=self.labels == "required")
        people = verdicts.first_of(block, [people, *([] if chosen else [teachers])])
        return {
            "id": ids,
            "model_a": column("model_a") or empty,
            "model_b": column("model_b") or empty,
            "language": column("language") or empty,
            "source": [source or self.stem for source in column("source") or empty],
            "session": _first_names(block, SESSIONS),
            "voter": _first_names(block, VOTERS),
            "verdict": people,
            "both_bad": verdicts.both_bad_shares(block, people),
            "teacher": teachers,
            "strength": strengths,
        }

    def _require(self, block: Block, values: list[Any]) -> None:
        if self.labels != "required" or None not in values:
            return
        columns = [
            name for name in (*verdicts.VERDICTS, *GRADES, "teacher", verdicts.TEACHER[0]) if name in block.columns
        ]
        if not columns:
            ways = f"{', '.join(verdicts.ONE_HOT)}; or winner; or votes; or teacher"
            fix = names_text("winner", block.names)
            raise InputError("no column of verdicts", file=self.file, expected=ways, fix=fix)
        raise InputError(
            "no verdict",
            file=self.file,
            row=block.row_number(values.index(None)),
            column=columns[0],
            found=None,
            expected="a verdict",
            fix="label the row or leave it out",
        )

    # -- the three families -------------------------------------------------------------------------------------

    def _texts(self, block: Block) -> Iterator[Segment]:
        names = FAMILIES["texts"]
        style = self._cell_style(block, names, known_lists="winner_model_a" in block.columns)
        earlier = self._earlier(block)
        if style == "json" and block.texts and not block.repaired and earlier is None:
            for start, stop, lists in json_lists.segments([block.texts[name] for name in names]):
                yield lists if lists is not None else [self._text_draft(block, row) for row in range(start, stop)]
        else:
            drafts = [self._text_draft(block, row) for row in range(len(block))]
            for index, (draft, (column, messages)) in enumerate(zip(drafts, earlier or (), strict=False)):
                texts = draft.prompt, draft.response_a, draft.response_b
                try:
                    draft.prompt, draft.response_a, draft.response_b = earlier_turns.prepend(messages, *texts)
                except ValueError as error:
                    raise block.error(index, column, "not earlier turns", error) from None
            yield drafts

    def _earlier(self, block: Block) -> list[tuple[str, earlier_turns.Messages]] | None:
        """For each row what was said before it, with the column that has it; None where no row has any."""
        columns = [name for name in earlier_turns.COLUMNS if name in block.columns]
        if not columns:
            return None
        rows: list[tuple[str, earlier_turns.Messages]] = [(columns[0], [])] * len(block)
        for name in columns:
            for index, messages in enumerate(block.each(name, "not earlier turns", earlier_turns.earlier_messages)):
                before, others = rows[index]
                if messages and others and messages != others:
                    raise block.error(index, name, f"earlier turns are in {before!r}, too", ValueError("one column"))
                if messages:
                    rows[index] = (name, messages)
        return rows if any(messages for _, messages in rows) else None

    def _text_draft(self, block: Block, row: int) -> Draft:
        texts: list[Turns] = []
        oddities: set[str] = set()
        for column in FAMILIES["texts"]:
            cell = block.columns[column][row]
            try:
                texts.append(_cell_turns(cell, self.style or "plain"))
            except ValueError as error:
                if row == 0 and not any(_is_text(other) for other in block.columns[column]):
                    # It is no broken cell but the file's layout, whose brackets are no text.
                    fix = "write messages as conversation_a and conversation_b, and texts as texts or lists of texts"
                    raise block.error(row, column, "neither a text nor a list of texts", error, fix) from None
                if self.labels == "required":
                    fix = "repair the cell; with plain text instead of JSON lists use a `winner` column"
                    raise block.error(row, column, "not a JSON list of texts", error, fix) from None
                texts.append([cell if isinstance(cell, str) else repr(cell)])
                oddities.add("unparsed_json")
            if (column, row) in block.repaired:
                oddities.add("invalid_utf8")
        return Draft(texts[0], texts[1], texts[2], oddities)

    def _conversations(self, block: Block) -> list[Draft]:
        def read(value: Any) -> tuple[Turns, Turns]:
            return turns(as_messages(value)) if value is not None else ([None], [None])

        both = [block.each(column, "not a conversation", read) for column in FAMILIES["conversations"]]
        drafts = []
        for (prompt_a, response_a), (prompt_b, response_b) in zip(*both, strict=True):
            prompt = prompt_a if prompt_a != [None] else prompt_b
            differ = prompt_a != prompt_b and [None] not in (prompt_a, prompt_b)
            drafts.append(Draft(prompt, response_a, response_b, {"prompts_differ"} if differ else set()))
        return drafts

    def _preferences(self, block: Block) -> tuple[list[Draft], dict[str, list[Any]]]:
        others = self._others(block, chosen=True)
        style = self._cell_style(block, FAMILIES["preferences"], known_lists=False)
        earlier = self._earlier(block) or [("", [])] * len(block)
        empty = [None] * len(block)
        prompts = block.columns.get("prompt") or empty
        won_scores, lost_scores = next(
            ((block.columns[a], block.columns[b]) for a, b in SCORES if {a, b} <= block.columns.keys()), (empty, empty)
        )
        drafts = []
        for index in range(len(block)):
            chosen, rejected = (block.columns[name][index] for name in FAMILIES["preferences"])
            try:
                if style != "plain":
                    chosen, rejected = _list_cell(chosen, style), _list_cell(rejected, style)
                chosen, rejected = one_answer(chosen, rejected, block.names)
                asked, won, asked_rejected, lost = sides(prompts[index], chosen, rejected, earlier[index][1])
                decided = outcome(others["verdict"][index], (won_scores[index], lost_scores[index]))
            except ValueError as error:
                raise block.error(index, "chosen", "not preference data", error) from None
            is_a = chosen_is_a(asked, won, lost)
            oddities = {"prompts_differ"} if asked != asked_rejected else set()
            verdict = (verdicts.A if is_a else verdicts.B) if decided else verdicts.TIE
            drafts.append(Draft(asked, won if is_a else lost, lost if is_a else won, oddities, is_a, verdict))
        others["verdict"] = [draft.verdict for draft in drafts]
        others["strength"] = [
            None if verdict == verdicts.TIE else strength
            for verdict, strength in zip(others["verdict"], others["strength"], strict=True)
        ]
        others["both_bad"] = verdicts.both_bad_shares(block, others["verdict"])
        if "chosen_model" in block.columns and "rejected_model" in block.columns:
            pairs = zip(block.columns["chosen_model"], block.columns["rejected_model"], drafts, strict=True)
            placed = [(won, lost) if draft.chosen_is_a else (lost, won) for won, lost, draft in pairs]
            others |= {"model_a": [a for a, _ in placed], "model_b": [b for _, b in placed]}
        return drafts, others


def _is_text(cell: Any) -> bool:
    """Whether a cell is a text, a number, empty, or a list of texts: all but a structure, or bytes."""
    return is_turns(cell) if isinstance(cell, list | tuple) else not isinstance(cell, dict | bytes)


def _first_names(block: Block, columns: Sequence[str]) -> list[str | None]:
    """For each row the first of these columns that names something: a text or a number."""
    names: list[str | None] = [None] * len(block)
    for column in reversed([name for name in columns if name in block.columns]):
        for row, value in enumerate(block.columns[column]):
            is_name = isinstance(value, str | int | float) and value == value and str(value).strip()
            names[row] = str(value).strip() if is_name else names[row]
    return names


def _list_cell(cell: Any, style: Style) -> Any:
    """The list in a text cell; the cell itself where it is empty or holds none."""
    if not isinstance(cell, str) or not cell or cell.isspace():
        return cell
    try:
        return parse_cell(cell, style)
    except ValueError:
        return cell


def _cell_turns(cell: Any, style: Style) -> Turns:
    """The turns in a cell. Raises: ValueError where they are not texts."""
    if isinstance(cell, str) and style != "plain" and cell and not cell.isspace():
        try:
            cell = parse_cell(cell, style)
        except ValueError:
            raise ValueError(JSON_LIST) from None
        if isinstance(cell, str):
            raise ValueError(JSON_LIST)
    if cell is None or isinstance(cell, str):
        return [cell]
    if not is_turns(cell):
        raise ValueError(JSON_LIST)
    return list(cell)
