"""The flag `--read_limits NAME=SIZE …`, by which every command that reads battles takes other bounds than `Limits` has.

It is one flag with names inside, so that a bound is named once, in `arena_data.containers.limits`.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import fields, replace

from arena_data.arguments import suggestion
from arena_data.containers.limits import LIMITS, Limits, size_text
from arena_data.errors import InputError

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_NAMES = [field.name for field in fields(Limits)]
_COUNTS = ("columns", "expansion")  # numbers, not bytes
_MOST = 1 << 50

READ_LIMITS_HELP = (
    f"bounds of what is read, of {', '.join(_NAMES)}: such as cell=64MiB columns=5000 "
    f"(default: cell={size_text(LIMITS.cell).replace(' ', '')}, …)"
)


def add_limit_flag(command: argparse.ArgumentParser) -> None:
    """Adds the flag to a parser; `limits_of` reads it."""
    command.add_argument("--read_limits", nargs="+", metavar="NAME=SIZE", help=READ_LIMITS_HELP)


def limits_of(given: Sequence[str] | None) -> Limits:
    """The bounds with the given ones in place of the usual ones.

    Args:
        given: `NAME=SIZE` each. NAME is a field of `Limits`. SIZE is a whole number, of bytes or with KiB, MiB or GiB;
            `columns` and `expansion` are plain numbers.

    Raises: InputError for what is no bound.
    """
    chosen: dict[str, int] = {}
    for text in given or ():
        name, _, size = text.partition("=")
        if name not in _NAMES:
            raise InputError(
                f"--read_limits has no bound {name!r}{suggestion(name, _NAMES)}", expected=", ".join(_NAMES)
            )
        number = re.fullmatch(r"([0-9]{1,16})([a-z]*)", size.strip().lower())
        units = {"": 1} if name in _COUNTS else _UNITS
        if number is None or number[2] not in units or not 0 < int(number[1]) * units[number[2]] <= _MOST:
            example = f"{name}=5000" if name in _COUNTS else f"{name}=64MiB"
            raise InputError(f"--read_limits {name} is no size", found=size, expected=f"such as {example}")
        chosen[name] = int(number[1]) * units[number[2]]
    return replace(LIMITS, **chosen)
