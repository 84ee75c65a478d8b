"""Votes in, verdicts out: a verdict is the distribution (A, B, tie) that was voted.

Releases say it in four ways: a winner's name, three one-hot columns, counts of several annotators' votes, or whether it
is a tie; a teacher says it as probabilities. All become three floats that sum to 1. That both responses are bad is a tie,
and its share is kept beside the verdict.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from arena_data.containers.block import Block
from arena_data.errors import InputError
from arena_data.reading.text_cells import parse_cell
from arena_data.schema import SUM_TOLERANCE

Verdict = tuple[float, float, float]

ONE_HOT = ("winner_model_a", "winner_model_b", "winner_tie")
TEACHER = ("teacher_model_a", "teacher_model_b", "teacher_tie")
BOTH_BAD = "both_bad"
VERDICTS = ("winner", "verdict", "votes", "tie", *ONE_HOT)

A, B, TIE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
BOTH_BAD_NAMES = frozenset({"tie (bothbad)", "tie (both bad)", "both_bad", "bothbad"})
# The names the public releases use. Both-bad is a tie: neither answer was preferred.
WINNERS: dict[str, Verdict] = {
    "model_a": A,
    "model_b": B,
    "tie": TIE,
    **dict.fromkeys(sorted(BOTH_BAD_NAMES, reverse=True), TIE),
    "a": A,
    "b": B,
    "a>b": A,
    "b>a": B,
    "a=b": TIE,
}
BOOLEANS = {"true": 1.0, "false": 0.0}


def from_winner(winner: str) -> Verdict:
    """Raises: ValueError for a name that no release uses."""
    try:
        return WINNERS[winner.strip().lower()]
    except (KeyError, AttributeError):
        raise ValueError(f"one of {', '.join(WINNERS)}") from None


def voted(verdict: Sequence[float] | None, teacher: Sequence[float] | None) -> Sequence[float] | None:
    """The verdict where people gave it; null where there is none, or a teacher's probabilities serve as one.

    A battle that nobody judged is loaded with its teacher's probabilities as its verdict, so the two are equal to the
    last bit. A certain verdict counts as people's though a teacher be as certain: no vote is lost by mistake.
    """
    return None if verdict is not None and verdict == teacher and max(verdict) < 1 else verdict


def _three(values: Mapping[str, Any] | Sequence[Any]) -> list[float]:
    if isinstance(values, Mapping):
        for names in (("model_a", "model_b", "tie"), ("A", "B", "tie"), ("a", "b", "tie")):
            if set(values) <= set(names) and values:
                values = [values.get(name) or 0 for name in names]
                break
        else:
            raise ValueError("the keys model_a, model_b and tie")
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 3:
        raise ValueError("three numbers, for A, B and tie")
    try:
        numbers = [_number(value) for value in values]
    except (TypeError, ValueError):
        raise ValueError("three numbers, for A, B and tie") from None
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError("three numbers of at least 0")
    return numbers


def _number(value: Any) -> float:
    """A number, also as text; True and False, as some programs write a one-hot column, are 1 and 0."""
    known = BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else None
    return float(value) if known is None else known


def as_bool(value: Any) -> bool | None:
    """A cell that says yes or no; None where it is empty. Raises: ValueError for anything else."""
    if value is None or value == "" or value != value:
        return None
    try:
        number = _number(value)
    except (TypeError, ValueError):
        number = -1
    if number not in (0, 1):
        raise ValueError("true or false")
    return number == 1


def with_tie(verdict: Verdict | None, tie: bool | None) -> Verdict | None:
    """The verdict beside a column that says whether it is a tie. Raises: ValueError where they contradict each other."""
    if tie is None or (verdict is None and not tie):
        return verdict
    if verdict is not None and ((tie and verdict in (A, B)) or (not tie and verdict == TIE)):
        raise ValueError(f"the same as the other columns of verdicts, which say {'no tie' if tie else 'a tie'}")
    return TIE if verdict is None else verdict


def from_probabilities(values: Mapping[str, Any] | Sequence[Any]) -> Verdict:
    """One-hot columns or probabilities, as a list in the order A, B, tie or by name.

    Raises: ValueError where they are not three non-negative numbers that sum to 1.
    """
    numbers = _three(values)
    total = sum(numbers)
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"a sum of 1, not {total:g}")
    return (numbers[0] / total, numbers[1] / total, numbers[2] / total)


def from_votes(values: Mapping[str, Any] | Sequence[Any]) -> Verdict:
    """Counts of votes (or their fractions) as fractions. Raises: ValueError where nobody voted."""
    numbers = _three(values)
    total = sum(numbers)
    if total == 0:
        raise ValueError("at least one vote")
    return (numbers[0] / total, numbers[1] / total, numbers[2] / total)


# -- a block's columns ------------------------------------------------------------------------------------------------


def people_verdicts(block: Block, *, chosen: bool = False) -> list[Verdict | None]:
    """People's verdicts by row, from the first column that has one.

    Args:
        chosen: the rows are preference data, whose columns `chosen` and `rejected` say who won.

    Raises: InputError for a cell that is no verdict, or for columns that contradict each other.
    """
    names = block.columns.keys()
    columns: list[list[Verdict | None]] = []
    used = [name for name in ("votes", ONE_HOT[0], "winner") if name in names]
    if "votes" in names:
        columns.append(block.each("votes", "unknown votes", _nullable(from_votes)))
    if ONE_HOT[0] in names:
        columns.append(_one_hot(block, ONE_HOT))
    for name in ("winner", "verdict"):
        if name in names and (name == "winner" or not columns):
            used = used or [name]
            columns.append(block.each(name, "unknown verdict", _nullable(_from_choice if chosen else from_winner)))
    by_row = first_of(block, columns)
    for name, values in list(zip(used, columns, strict=True))[1:]:
        for index, (first, other) in enumerate(zip(by_row, values, strict=True)):
            if first is not None and other is not None and first != other and _contradict(first, other, chosen):
                expected = f"the same winner as in {used[0]}"
                raise block.error(index, name, "contradicts another column", expected)
    if "tie" in names:
        for index, tie in enumerate(block.each("tie", "does not say whether it is a tie", as_bool)):
            try:
                by_row[index] = with_tie(by_row[index], tie)
                if chosen and tie is False and by_row[index] is None:
                    by_row[index] = A  # Whichever side it is on, the chosen answer won.
            except ValueError as error:
                raise block.error(index, "tie", "contradicts another column", error) from None
    return by_row


def _contradict(one: Verdict, other: Verdict, chosen: bool) -> bool:
    """Whether both name a winner, and not the same. Of preference data, only whether it is a tie counts."""
    winners = [verdict.index(max(verdict)) for verdict in (one, other) if verdict.count(max(verdict)) == 1]
    if chosen:
        winners = [int(winner == TIE.index(1.0)) for winner in winners]
    return len(set(winners)) == 2


def both_bad_shares(block: Block, verdicts: Sequence[Verdict | None]) -> list[float | None]:
    """How much of each verdict said that both are bad: at most its tie, 0 where nobody said so, None without a verdict.

    Raises: InputError for a cell of the column `both_bad` that is no share of the tie.
    """
    shares: list[float | None] = [None if verdict is None else 0.0 for verdict in verdicts]
    for column in ("verdict", "winner"):
        for index, name in enumerate(block.columns.get(column, ())):
            verdict = verdicts[index]
            if verdict is not None and isinstance(name, str) and name.strip().lower() in BOTH_BAD_NAMES:
                shares[index] = verdict[2]
    if BOTH_BAD in block.columns:
        for index, share in enumerate(block.each(BOTH_BAD, "not a share", _share)):
            verdict = verdicts[index]
            if share is None or verdict is None:
                continue
            if share > verdict[2] + SUM_TOLERANCE:
                most = ValueError(f"at most the share of ties, {verdict[2]:g}")
                raise block.error(index, BOTH_BAD, "more than the verdict's ties", most)
            shares[index] = min(share, verdict[2])
    return shares


def _share(value: Any) -> float | None:
    """A share as a number or yes or no; None where it is empty. Raises: ValueError for anything else."""
    if value is None or value == "" or value != value:
        return None
    try:
        number = _number(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError("a number from 0 to 1, or true or false")
    return number


def teachers_verdicts(block: Block) -> list[Verdict | None]:
    """A teacher's probabilities by row. Raises: InputError for a cell that holds none."""
    if all(name in block.columns for name in TEACHER):
        return _one_hot(block, TEACHER)
    if "teacher" in block.columns:
        return block.each("teacher", "not a teacher's probabilities", _nullable(from_probabilities))
    return [None] * len(block)


def first_of(block: Block, columns: Sequence[list[Verdict | None]]) -> list[Verdict | None]:
    """For each row the first column's verdict that is there."""
    by_row: list[Verdict | None] = [None] * len(block)
    for values in columns:
        by_row = [old if old is not None else new for old, new in zip(by_row, values, strict=True)]
    return by_row


def _one_hot(block: Block, columns: tuple[str, str, str]) -> list[Verdict | None]:
    rows: list[Verdict | None] = []

    # A one-hot vote has three possible values: nearly every row is one of them.
    @functools.lru_cache
    def read(cells: tuple[Any, ...]) -> Verdict | None:
        return None if set(cells) <= {None, ""} else from_probabilities(cells)

    for index, cells in enumerate(zip(*(block.columns[name] for name in columns), strict=True)):
        try:
            rows.append(read(cells))
        except (TypeError, ValueError) as error:  # TypeError: a cell of JSON that is a list or an object.
            raise InputError(
                "not a verdict",
                file=block.file,
                row=block.row_number(index),
                column=", ".join(columns),
                found=cells,
                expected=str(error) if isinstance(error, ValueError) else "three numbers, for A, B and tie",
            ) from None
    return rows


def _nullable(read: Callable[[Any], Verdict]) -> Callable[[Any], Verdict | None]:
    """`read`, with null cells left null and a list or object as text (as CSV holds it) parsed."""

    def read_cell(cell: Any) -> Verdict | None:
        if cell is None or cell == "":
            return None
        return read(parse_cell(cell) if isinstance(cell, str) and cell[:1] in "[{" else cell)

    return read_cell


def _from_choice(value: Any) -> Verdict:
    """As `from_winner`, in preference data: whichever side the name says, the chosen answer is on it.

    Raises: ValueError for a name that no release uses, and where the rejected answer is said to have won.
    """
    name = value.strip().lower() if isinstance(value, str) else value
    if name == "rejected":
        raise ValueError("a verdict that does not contradict the columns chosen and rejected")
    return A if name == "chosen" else from_winner(value)
