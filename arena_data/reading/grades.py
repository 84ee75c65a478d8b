"""How much better the winner is, where people said so: one number a battle, and a verdict where none is beside it.

| column | what it holds |
| --- | --- |
| `strength` | words (`much better`, `slightly better`, `equal`, Tulu's `a-is-better`), or a number of at least 0 |
| `preference_strength`, `overall_preference` | HelpSteer's whole numbers: -3, A is much better, to 3, B is much better |
| `margin` | a number of at least 0: the chosen answer's lead, as in TRL and OpenRLHF |

The number is on the scale of its source: 1, 2, 3 for slightly better, better, much better. A tie has none.
Sources: https://huggingface.co/datasets/nvidia/HelpSteer3, https://huggingface.co/docs/trl/reward_trainer.
"""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from arena_data.containers.block import Block
from arena_data.errors import InputError
from arena_data.reading.verdicts import TIE, A, B, Verdict

SIGNED = ("preference_strength", "overall_preference")
GRADES = ("strength", *SIGNED, "margin")

_LEVELS = {
    "slightly": 1.0,
    "a bit": 1.0,
    "a little": 1.0,
    "": 2.0,
    "much": 3.0,
    "far": 3.0,
    "significantly": 3.0,
    "clearly": 3.0,
}
_EQUAL = {"equal", "equally good", "tie", "same", "the same", "about the same", "no preference"}
# [the first answer | a | response 1] [is] much [better] [than response 2]
_WORDS = re.compile(
    r"(?:(?:model |response |answer |assistant )?(?P<side>[ab12]) (?:is )?)?"
    rf"(?P<how>{'|'.join(_LEVELS)}) ?(?P<better>better)?(?: than (?:model |response |answer |assistant )?[ab12])?"
)
_WORDS_EXPECTED = "words such as 'much better', 'slightly better', 'a is better' or 'equal', or a number of at least 0"
_MOST_SIGNED = 3


class Grade(NamedTuple):
    """size: how much better the winner is; None for a tie. side: A, B or TIE, where the grade itself says it."""

    size: float | None
    side: Verdict | None = None


def from_words(text: str) -> Grade:
    """Raises: ValueError for words that no release uses."""
    plain = " ".join(re.sub(r"[-_]", " ", text.lower()).split())
    if plain in _EQUAL:
        return Grade(None, TIE)
    words = _WORDS.fullmatch(plain)
    if words is None or not (words["better"] or words["how"]):
        raise ValueError(_WORDS_EXPECTED)
    side = {"a": A, "1": A, "b": B, "2": B}.get(words["side"] or "")
    return Grade(_LEVELS[words["how"]], side)


def from_strength(value: Any) -> Grade:
    """A cell of `strength`. Raises: ValueError."""
    number = _number(value)
    if number is None:
        if isinstance(value, str):
            return from_words(value)
        raise ValueError(_WORDS_EXPECTED)
    if number < 0:
        raise ValueError("at least 0; signed numbers (negative: A is better) go into a column preference_strength")
    return Grade(number) if number else Grade(None, TIE)


def from_signed(value: Any) -> Grade:
    """A cell of HelpSteer's columns. Raises: ValueError."""
    number = _number(value)
    if number is None or number != round(number) or abs(number) > _MOST_SIGNED:
        raise ValueError("a whole number from -3 (A is much better) to 3 (B is much better)")
    return Grade(abs(number), A if number < 0 else B) if number else Grade(None, TIE)


def from_margin(value: Any) -> Grade:
    """A cell of `margin`; 0 is the least lead, not a tie. Raises: ValueError."""
    number = _number(value)
    if number is None or number < 0:
        raise ValueError("a number of at least 0, the lead of the better answer")
    return Grade(number)


def _number(value: Any) -> float | None:
    """A finite number, also as text; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


_READERS: dict[str, Callable[[Any], Grade]] = {
    "strength": from_strength,
    **dict.fromkeys(SIGNED, from_signed),
    "margin": from_margin,
}


def read_grades(
    block: Block, verdicts: list[Verdict | None], *, chosen: bool, required: bool
) -> tuple[list[float | None], list[Verdict | None]]:
    """How much better each row's winner is, None where nobody said; and the verdicts, with those that grades tell.

    Args:
        verdicts: people's, from the columns that say who won.
        chosen: the rows are preference data: the chosen answer won, whichever side it is on.
        required: refuse what cannot be read or contradicts the verdict; else such a grade is left out.

    Raises: InputError for two columns of grades, and where required for a grade that is none or contradicts the verdict.
    """
    names = [name for name in GRADES if name in block.columns]
    strengths: list[float | None] = [None] * len(block)
    if not names:
        return strengths, verdicts
    if len(names) > 1 and required:
        fix = "leave one of them"
        raise InputError(f"two columns of grades, {names[0]} and {names[1]}", file=block.file, column=names[1], fix=fix)
    name, told = names[0], list(verdicts)
    for index, cell in enumerate(block.columns[name]):
        if cell is None or cell == "" or cell != cell:
            continue
        try:
            strengths[index], told[index] = _beside(_READERS[name](cell), verdicts[index], chosen)
        except ValueError as error:
            if required:
                raise block.error(index, name, "not a grade of this verdict", error) from None
    return strengths, told


def _beside(grade: Grade, verdict: Verdict | None, chosen: bool) -> tuple[float | None, Verdict | None]:
    """Raises: ValueError where grade and verdict contradict each other."""
    size, side = grade
    if chosen and side in (A, B):
        side = A if verdict is None else None  # A stands for the chosen answer
    if verdict is None:
        return size, side
    if side is not None and verdict[side.index(1.0)] < max(verdict):
        raise ValueError(f"what the other columns say, which is {_said(verdict)}")
    if side is None and size and verdict == TIE:
        raise ValueError("no grade above 0 beside a tie")
    return (None if verdict == TIE else size), verdict


def _said(verdict: Verdict) -> str:
    return ("that A won", "that B won", "a tie")[verdict.index(max(verdict))]
