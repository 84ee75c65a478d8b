"""The two models' names in what a teacher reads: the latest turn of each response begins with the name of its model.

A name is a line of the response, so a token budget counts it. The latest turn's beginning is what a cut keeps longest; where
it leaves a response fewer tokens than its name has, the name is cut too.
Every response has the line: one that begins with such a line of its own poses as nothing. A name that a battle does not
have is marked as missing.
"""

from collections.abc import Sequence
from typing import Any

import datasets

from arena_data.errors import InputError
from arena_data.quiet import quiet_datasets

MISSING = "unknown"


def named(response: Sequence[str | None], model: str | None) -> list[str | None]:
    """The turns of a response, the latest one with its model's name before it."""
    name = " ".join((model or MISSING).split())
    *earlier, latest = list(response) or [""]
    return [*earlier, f"[{name}]\n{latest or ''}"]


def with_model_names(battles: datasets.Dataset) -> datasets.Dataset:
    """The battles as a model reads them that is shown the two models' names; style is counted without them.

    Raises: InputError where no battle has a name.
    """
    columns = {side: list(battles[f"model_{side}"]) for side in "ab"}
    if len(battles) and not any(name is not None for names in columns.values() for name in names):
        raise InputError(
            "this model reads the names of the two models, and no battle has one",
            expected="columns model_a and model_b",
            fix="use a student that was taught by it, or a model that was trained without --show_models",
        )

    def write(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {
            f"response_{side}": [
                named(response, model)
                for response, model in zip(batch[f"response_{side}"], batch[f"model_{side}"], strict=True)
            ]
            for side in "ab"
        }

    with quiet_datasets():
        return battles.map(write, batched=True, load_from_cache_file=False, keep_in_memory=True)


def names_missing(battles: datasets.Dataset) -> int:
    """How many battles lack the name of one of their models, or of both."""
    return sum(None in pair for pair in zip(battles["model_a"], battles["model_b"], strict=True))
