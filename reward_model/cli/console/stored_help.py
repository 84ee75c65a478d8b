"""The commands' flags as they are on file, so that help and completion open without importing what commands import.

`python -m reward_model.cli.console.reference` writes the file from the parsers; a test compares them.
"""

import json
import shutil
import textwrap
from collections.abc import Sequence
from importlib.resources import files
from typing import TypedDict

FILE = "commands.json"
KIND_TITLE = "options of "


class Flag(TypedDict):
    """names: `--x`, or what a positional argument is called; value: what follows, as usage shows it; default: "" if none."""

    names: list[str]
    value: str
    choices: list[str]
    default: str
    help: str


class Group(TypedDict):
    """Flags under a heading."""

    title: str
    flags: list[Flag]


class Command(TypedDict):
    """summary: one line; usage: with the flags that must be given; epilog: what the help ends with."""

    summary: str
    usage: str
    description: str
    epilog: str
    groups: list[Group]


def stored_commands() -> dict[str, Command]:
    """All commands by name, in the order of the help."""
    commands: dict[str, Command] = json.loads((files("reward_model.cli.console") / FILE).read_text(encoding="utf-8"))
    return commands


def stored_help(name: str, arguments: Sequence[str] = ()) -> str | None:
    """A command's help, as wide as the terminal; None where it is not on file.

    Args:
        arguments: what was given beside `--help`; a kind of baseline among them brings its own options.
    """
    command = stored_commands().get(name)
    if command is None:
        return None
    width = min(120, shutil.get_terminal_size().columns)
    parts = [f"usage: {command['usage']}", "", *filter(None, [command["description"]])]
    for group in command["groups"]:
        title = group["title"]
        if title.startswith(KIND_TITLE) and title.removeprefix(KIND_TITLE) not in arguments:
            continue
        parts += ["", f"{title}:", *(flag_help(flag, width) for flag in group["flags"])]
    return "\n".join([*parts, *(["", command["epilog"]] if command["epilog"] else [])])


def flag_help(flag: Flag, width: int) -> str:
    """A flag's lines: its names and value, then what it does."""
    head = f"  {', '.join(flag['names'])} {flag['value']}".rstrip()
    text = flag["help"] + (f" (default: {flag['default']})" if flag["default"] else "")
    lines = textwrap.wrap(text, max(40, width - 26), break_long_words=False, break_on_hyphens=False)
    if len(head) <= 24:
        head = f"{head:<26}{lines.pop(0)}"
    return "\n".join([head, *(" " * 26 + line for line in lines)])
