"""Which columns a file of battles has: three families hold all the formats.

| columns | family |
| --- | --- |
| prompt, response_a, response_b | Kaggle LMSYS (JSON lists in cells), WSDM Cup (plain text), JSON Lines (lists) |
| conversation_a, conversation_b | the arena releases on the Hub, also as messages_a and messages_b |
| chosen, rejected, maybe prompt | TRL preference data |

Names are known without regard to case, blanks and byte order marks.
"""

import difflib
from collections.abc import Sequence

from arena_data.containers.column_names import plain_name
from arena_data.errors import InputError
from arena_data.reading import earlier_turns
from arena_data.reading.grades import GRADES
from arena_data.reading.preferences import SCORES
from arena_data.reading.verdicts import BOTH_BAD, ONE_HOT, TEACHER, VERDICTS

FAMILIES = {
    "conversations": ("conversation_a", "conversation_b"),
    "preferences": ("chosen", "rejected"),
    "texts": ("prompt", "response_a", "response_b"),
}
IDS = ("id", "question_id")
MODELS = ("model_a", "model_b", "chosen_model", "rejected_model")
# What ties battles of one sitting or one person together, by the releases' names; the first that a row has counts.
SESSIONS = ("session", "session_id", "evaluation_session_id", "conversation_id")
VOTERS = ("voter", "voter_id", "judge", "judge_hash", "judge_id", "user_id", "annotator", "annotator_id", "worker_id")
WANTED = frozenset(
    {*IDS, *MODELS, *VERDICTS, *TEACHER, *GRADES, BOTH_BAD, "teacher", "language", "source", "prompt"}
    | {*SESSIONS, *VOTERS, *earlier_turns.COLUMNS}
    | {name for names in (*FAMILIES.values(), *SCORES) for name in names}
)
NAMES_SHOWN = 20


def family_of(columns: Sequence[str], file: str, names: Sequence[str] = ()) -> str:
    """Raises: InputError where the columns are of no known family, or one of a family is missing.

    Args:
        columns: the known ones.
        names: of all columns, as the file writes them, for the error.
    """
    for family, needed in FAMILIES.items():
        if set(needed) <= set(columns):
            some = [name for name in ONE_HOT if name in columns]
            if some and len(some) < 3:
                missing = next(name for name in ONE_HOT if name not in columns)
                expected = f"all of {', '.join(ONE_HOT)}"
                raise InputError(
                    "missing column", file=file, column=missing, expected=expected, fix=names_text(missing, names)
                )
            return family
    nearest = max(FAMILIES.values(), key=lambda needed: sum(name in columns for name in needed) / len(needed))
    missing = next(name for name in nearest if name not in columns)
    known = "; or ".join(", ".join(needed) for needed in FAMILIES.values())
    raise InputError(
        "missing column", file=file, column=missing, expected=known, fix=names_text(missing, names or columns)
    )


def names_text(missing: str, names: Sequence[str]) -> str:
    """The columns that a file does have, as far as they fit in a line, and the one whose name is nearest."""
    shown = [name if len(name) <= 30 else f"{name[:29]}…" for name in names[:NAMES_SHOWN]]
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    plain = {plain_name(name): name for name in reversed(names)}
    similar = difflib.get_close_matches(missing, plain, n=1)
    hint = f"; is {plain[similar[0]]!r} what should be {missing!r}?" if similar and similar[0] != missing else ""
    return f"its columns are {', '.join(map(repr, shown))}{more}{hint}"
