"""Column names as files write them, and as formats know them: without case, blanks and byte order marks."""

from collections import Counter
from collections.abc import Collection, Sequence

from arena_data.containers.limits import Limits
from arena_data.errors import InputError

# Names of some releases for what others call otherwise.
SYNONYMS = {"messages_a": "conversation_a", "messages_b": "conversation_b"}
# JudgeBench's columns for a pair of responses. They count only together: `question` and `label` alone may be anything.
JUDGEBENCH = {"pair_id": "id", "question": "prompt", "label": "winner"}


def plain_name(name: str) -> str:
    """The name as formats know it: `"\\ufeff ID "` is `id`."""
    if name.startswith("\ufeff"):
        name = name.strip('\ufeff "')  # A quote after a mark is none to a reader of CSV.
    return name.strip().lower()


def known_names(names: Sequence[str], wanted: Collection[str]) -> list[str | None]:
    """For each of a file's columns its name among the wanted ones; None where it is not wanted."""
    plain = [plain_name(name) for name in names]
    present = set(plain)
    synonyms = {old: new for old, new in SYNONYMS.items() if new not in present}
    if {*JUDGEBENCH, "response_a", "response_b"} <= present and "prompt" not in present:
        synonyms |= {old: new for old, new in JUDGEBENCH.items() if new not in present}
    return [known if (known := synonyms.get(name, name)) in wanted else None for name in plain]


def chosen_columns(file: str, names: Sequence[str], wanted: Collection[str], limits: Limits) -> dict[str, int]:
    """The places of the wanted columns in the file, by known name; the first column where none is wanted.

    Raises: InputError for too many columns, or for two that have one name.
    """
    if len(names) > limits.columns:
        raise InputError(f"has {len(names):,} columns", file=file, expected=f"at most {limits.columns:,}")
    twice = [name for name, count in Counter(names).items() if count > 1 and name.strip()]
    if twice:
        raise InputError("column named twice", file=file, column=twice[0], fix="rename one of them")
    places: dict[str, int] = {}
    for place, known in enumerate(known_names(names, wanted)):
        if known is None:
            continue
        if known in places:
            pair = f"{names[places[known]]!r} and {names[place]!r}"
            raise InputError(f"column named twice, as {pair}", file=file, column=known, fix="rename one of them")
        places[known] = place
    return places or ({plain_name(names[0]): 0} if names else {})
