"""Small JSON files beside a model, such as calibration.json and blend.json: read strictly, written whole or not at all."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from arena_data.errors import BattleError
from arena_data.output import write_atomically

Contents = TypeVar("Contents")


def read_json(path: str | os.PathLike[str], parse: Callable[[Any], Contents]) -> Contents:
    """What `parse` makes of the file. Raises: BattleError for one that is missing, no JSON, or refused by `parse`."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        return parse(json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse))
    except OSError as error:
        raise BattleError(f"cannot be read ({error.strerror or error})", file=os.fspath(path)) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise BattleError(f"is broken: {error}", file=os.fspath(path)) from error


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Raises: BattleError where the file cannot be written, ValueError for nan or infinity."""
    write_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
