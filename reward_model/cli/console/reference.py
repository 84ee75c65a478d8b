"""Writes docs/reference.md, and the file that help and completion are read from: `python -m
reward_model.cli.console.reference`.

Both come from the commands' own parsers, and hold nothing of the machine that they are written on. A test fails while
they say something else than the parsers.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from arena_data.arguments import described
from reward_model.baselines.base import KINDS
from reward_model.cli.console.commands import COMMANDS
from reward_model.cli.console.stored_help import FILE, KIND_TITLE, Command, Flag, Group

PAGE = Path("docs/reference.md")
_HEAD = """# Every command and flag

`arena-reward COMMAND [flags]`, or `python -m reward_model COMMAND [flags]`. Written from the parsers by
`python -m reward_model.cli.console.reference`; do not edit it by hand. No flag can be abbreviated. A mistyped flag
is an error that suggests the right one. Exit status: 0; 2 for what you have to mend, said in one line; 130 where you
stopped it.

| command | what it does |
| --- | --- |
"""
THEIRS = "flags of TRL and Transformers"


def main() -> int:
    """Writes both files in the checkout that this is run in."""
    commands = all_commands()
    (Path(str(files("reward_model.cli.console"))) / FILE).write_text(as_json(commands), encoding="utf-8")
    PAGE.write_text(as_page(commands), encoding="utf-8")
    return 0


def all_commands() -> dict[str, Command]:
    """What every command's parser says."""
    return {
        name: command_of(importlib.import_module(module), name, summary) for name, (module, summary) in COMMANDS.items()
    }


def command_of(module: Any, name: str, summary: str) -> Command:
    parser: argparse.ArgumentParser = module.parser()
    own = getattr(parser, "own_settings", None)
    actions = [action for group in parser._action_groups for action in group._group_actions if action.dest != "help"]
    groups: list[Group]
    if own is None:
        positional, optional, *others = parser._action_groups
        first = [*positional._group_actions, *optional._group_actions]
        groups = [Group(title="flags", flags=flags_of(first))]
        groups += [Group(title=str(group.title), flags=flags_of(group._group_actions)) for group in others]
    else:
        ours = sorted((action for action in actions if action.dest in own), key=lambda action: action.dest != "config")
        theirs = [action for action in actions if action.dest not in own]
        groups = [Group(title="flags of this project", flags=flags_of(ours))]
        groups.append(Group(title=THEIRS, flags=flags_of(theirs)))
    if name == "baseline":
        for kind in KINDS:
            options = module.parser(kind)._action_groups[-1]
            groups.append(Group(title=f"{KIND_TITLE}{kind}", flags=flags_of(options._group_actions)))
    needed = [usage_of(action) for action in actions if action.required or not action.option_strings]
    return Command(
        summary=summary,
        usage=" ".join([f"arena-reward {name}", *needed, "[flags]"]),
        description=(parser.description or "").strip(),
        epilog=(parser.epilog or "").strip(),
        groups=[group for group in groups if group["flags"]],
    )


def flags_of(actions: Iterable[argparse.Action]) -> list[Flag]:
    """One entry a setting: `--no_x` stands beside `--x`."""
    flags: dict[str, Flag] = {}
    for action in actions:
        if action.dest == "help":
            continue
        names = [name for name in action.option_strings if "-" not in name[2:] or name.startswith("--no-")]
        if action.dest in flags:
            flags[action.dest]["names"] += [name for name in names if not name.startswith("--no-")]
            continue
        text, default = described(action)
        choices = [str(choice) for choice in action.choices or ()]
        if choices and action.metavar is None:
            text = f"{text.rstrip('.')}; one of {', '.join(choices)}"
        value = value_of(action) if action.option_strings else ""
        names = names or [usage_of(action)]
        flags[action.dest] = Flag(names=names, value=value, choices=choices, default=default, help=text)
    return list(flags.values())


def usage_of(action: argparse.Action) -> str:
    """As in a usage line: `--model D [D ...]`, or a positional argument."""
    return " ".join([*action.option_strings[:1], value_of(action)])


def value_of(action: argparse.Action) -> str:
    """What follows a flag: `D [D ...]`; "" for a switch."""
    if action.nargs == 0:
        return ""
    letter = "N" if action.type is int else "X" if action.type is float else "TEXT"
    letter = "NAME" if action.choices is not None else letter
    name = str(action.metavar or (letter if action.option_strings else action.dest.upper()))
    forms = {"+": f"{name} [{name} ...]", "*": f"[{name} ...]", "?": f"[{name}]"}
    return forms.get(str(action.nargs), name)


def as_json(commands: dict[str, Command]) -> str:
    return json.dumps(commands, indent=1, ensure_ascii=False) + "\n"


def as_page(commands: dict[str, Command]) -> str:
    """The reference as Markdown."""
    lines = [f"| [{name}](#{name}) | {command['summary']} |" for name, command in commands.items()]
    return _HEAD + "\n".join(lines) + "\n" + "".join(section(name, command) for name, command in commands.items())


def section(name: str, command: Command) -> str:
    """One command: usage, then a table a group of flags."""
    parts = [f"\n## {name}\n\n{sentence(command['summary'])}\n\n    {command['usage']}\n"]
    for group in command["groups"]:
        if group["title"] == THEIRS and name != "train":
            parts.append("\nThe flags of TRL and Transformers that [train](#train) takes are taken too.\n")
            continue
        if group["title"] != "flags":
            parts.append(f"\n{sentence(group['title'])}\n")
        parts.append("\n| flag | default | what it does |\n| --- | --- | --- |\n")
        parts += [row(flag) for flag in group["flags"]]
    return "".join(parts)


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def row(flag: Flag) -> str:
    names = ", ".join(f"`{name}`" for name in flag["names"])
    value = f" `{flag['value']}`" if flag["value"] else ""
    default = f"`{flag['default']}`" if flag["default"] and " " not in flag["default"] else flag["default"]
    cells = (f"{names}{value}", default or "must be given", flag["help"])
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace('<', '&lt;') for cell in cells)} |\n"


if __name__ == "__main__":
    sys.exit(main())
