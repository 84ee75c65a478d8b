"""Flags as every command reads them: none is abbreviated, a mistyped one gets a suggestion, every help names its default.

A help text that ends with "(default: …)" says its default itself, in words where None would say nothing; to any other
the default is added. The texts of a dataclass's fields are those of its docstring, so that each is written once.

Source: https://docs.python.org/3/library/argparse.html.
"""

import argparse
import difflib
import enum
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

_DEFAULT = re.compile(r"\s*\(default: (.*)\)$", re.DOTALL)
_ARGUMENT = re.compile(r"^ {8}(\w+(?:, \w+)*): (.*(?:\n {12}.*)*)", re.MULTILINE)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions, and adds each flag's default to its help."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = described(action)
        return f"{text} (default: {default})".replace("%", "%%") if default else text.replace("%", "%%")


class CommandParser(argparse.ArgumentParser):
    """argparse's parser with errors of one line. Ends the process with status 2 where flags do not fit."""

    def __init__(self, *arguments: Any, **settings: Any):
        defaults: dict[str, Any] = {"formatter_class": HelpFormatter, "allow_abbrev": False}
        super().__init__(*arguments, **(defaults | settings))

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse's, but nothing is left unknown."""
        given = list(sys.argv[1:] if args is None else args)
        for argument in given:
            name = argument.partition("=")[0]
            if argument == "--":
                break
            if name.startswith("--") and " " not in name and name not in self._option_string_actions:
                known = [option for option in self._option_string_actions if option.startswith("--")]
                self.error(f"unknown flag {name}{suggestion(name, known)}")
        options, unknown = super().parse_known_args(given, namespace)
        if unknown:
            self.error(f"not understood: {' '.join(unknown)}")
        return options, []

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n" if is_first_process() else None)


def is_first_process() -> bool:
    """Whether errors that every process meets are for this one to say: all but the first of a launcher's are silent."""
    return not os.environ.get("LOCAL_RANK") or os.environ.get("RANK", "0") == "0"


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """A flag's type: a whole number that is at least so large, and at most so large if a limit is given."""
    expected = f"at least {least}" if most is None else f"from {least} to {most:,}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or int(text) < least or int(text) > (most or int(text)):
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, {expected}")
        return int(text)

    return parse


SEED = whole_number(0, 2**32 - 1)  # as NumPy and scikit-learn take them


def share(text: str) -> float:
    """A flag's type: a number from 0 to 1."""
    if not re.fullmatch(r"[0-9]*\.?[0-9]+|[0-9]+\.", text) or not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a share from 0 to 1, such as 0.33")
    return float(text)


def suggestion(name: str, known: Iterable[str]) -> str:
    """What an error says after a name that is not known: ` (did you mean X?)`, or nothing where none is like it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def described(action: argparse.Action) -> tuple[str, str]:
    """A flag's help on one line without its default, and the default as text; "" where the flag must be given."""
    text = " ".join((action.help or "").split()).replace("%%", "%")
    own = _DEFAULT.search(text)
    if own:
        return text[: own.start()], own[1] % {"default": action.default} if "%(" in own[1] else own[1]
    if action.required or action.dest == "help":
        return text, ""
    return text, default_text(action.default)


def default_text(default: Any) -> str:
    """A default as a reader would type it."""
    if default is None or default is argparse.SUPPRESS or default == []:
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, (list, tuple)):
        return " ".join(map(default_text, default))
    return str(default.value if isinstance(default, enum.Enum) else default)


def argument_texts(kind: type) -> dict[str, str]:
    """What the docstring of a dataclass, and of those it is made from, says of its fields: name to text on one line."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        for names, text in _ARGUMENT.findall(base.__dict__.get("__doc__") or ""):
            texts |= dict.fromkeys(names.split(", "), " ".join(text.split()).rstrip("."))
    return texts
