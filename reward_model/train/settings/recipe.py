"""The flags of a training run, and the YAML that sets them: TRL's parser, with errors of one line and help for every flag.

`--config recipe.yaml` gives flags new defaults; flags on the command line override it.
Source: https://huggingface.co/docs/trl/script_utils#trl.TrlParser.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

import yaml
from trl import TrlParser

from arena_data.arguments import CommandParser, HelpFormatter, argument_texts, suggestion
from arena_data.errors import InputError


class RecipeParser(CommandParser, TrlParser):
    """A flag for each field of several dataclasses. A help text is the field's own, its docstring's, or the one of the
    field that it overrides.

    Args:
        kinds: dataclasses.
        command: name of the command, for the help.
        description: what the command does.
    """

    def __init__(self, kinds: Sequence[Any], command: str, description: str):
        super().__init__(
            list(kinds), prog=f"arena-reward {command}", description=description, formatter_class=HelpFormatter
        )
        self.add_argument(
            "--config",
            metavar="YAML",
            default=argparse.SUPPRESS,  # no setting of a run
            help="a recipe: settings by name, which flags override (default: none)",
        )
        self.own_settings = {"config"} | {name for kind in kinds for name in own_fields(kind)}
        texts = {name: text for kind in kinds for name, text in (inherited_texts(kind) | argument_texts(kind)).items()}
        letters = {name: letter for kind in kinds for name, letter in value_letters(kind).items()}
        for action in self._actions:
            action.help = action.help or texts.get(action.dest)
            if action.choices is None and action.nargs != 0:
                action.metavar = action.metavar or letters.get(action.dest)

    def apply_recipe(self, arguments: Sequence[str]) -> list[str]:
        """Takes `--config` out of the arguments and its settings as defaults; returns the other arguments.

        Raises: InputError for a recipe that cannot be read or names a setting that there is not.
        """
        others, path = [], None
        given = iter(arguments)
        for argument in given:
            if argument == "--config" or argument.startswith("--config="):
                path = argument.partition("=")[2] or next(given, "")
                if not path:
                    self.error("--config wants the path of a recipe")
            else:
                others.append(argument)
        if path is not None:
            recipe = read_recipe(path)
            names = {action.dest for action in self._actions} - {"help", "config"}
            for name in recipe:
                if name not in names:
                    raise InputError(f"no such setting: {name}{suggestion(str(name), names)}", file=path)
            self.set_defaults_with_config(**recipe)
        return others

    def parse_run(self, arguments: Sequence[str]) -> tuple[Any, ...]:
        """The dataclasses, filled from recipe and flags. Raises: as `apply_recipe`, and what the dataclasses raise."""
        settings: tuple[Any, ...] = self.parse_args_into_dataclasses(
            self.apply_recipe(arguments), look_for_args_file=False
        )
        return settings


def read_recipe(path: str) -> dict[str, Any]:
    """Settings by name. Raises: InputError for a file that is not there or is no YAML mapping."""
    try:
        with open(path, encoding="utf-8") as file:
            recipe = yaml.safe_load(file)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path, expected="a recipe in YAML") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"is no YAML: {error}", file=path) from error
    if not isinstance(recipe, dict):
        raise InputError("is no recipe", file=path, found=recipe, expected="a YAML mapping of settings by name")
    return recipe


def own_fields(kind: Any) -> set[str]:
    """Names of the fields that no dataclass of another project declares."""
    ours = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    others = {name for base in kind.__mro__[1:] for name in getattr(base, "__dataclass_fields__", ())}
    return set(kind.__dataclass_fields__) - others if ours else set()


def value_letters(kind: Any) -> dict[str, str]:
    """What stands for a field's value in the help: N for a whole number, X for another, BOOL or TEXT."""
    letters = {int: "N", float: "X", bool: "BOOL"}
    types = {name: get_args(hint) or (hint,) for name, hint in get_type_hints(kind).items()}
    return {
        name: "TEXT" if str in members else next((letters[member] for member in members if member in letters), "TEXT")
        for name, members in types.items()
    }


def inherited_texts(kind: Any) -> dict[str, str]:
    """Help of the fields that a dataclass gives new defaults, and so loses: name to text."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            texts |= {f.name: f.metadata["help"] for f in dataclasses.fields(base) if f.metadata.get("help")}
    return texts
