"""Battles from texts in memory: the columns that a file's battles have, cleaned the same way, without a file."""

import secrets
from collections.abc import Sequence

import datasets
import pyarrow as pa

from arena_data.reading.builder import group_of
from arena_data.reading.cleaning import Text, clean_turns, is_blank
from arena_data.schema import FEATURES

_SCHEMA = FEATURES.arrow_schema  # made anew whenever it is asked for


def make_battles(prompts: Sequence[Text], responses_a: Sequence[Text], responses_b: Sequence[Text]) -> datasets.Dataset:
    """Battles without verdicts, columns of `arena_data.schema.FEATURES`; ids are "0", "1", ….

    Raises: ValueError for lists of unequal length.
    """
    if not len(prompts) == len(responses_a) == len(responses_b):
        raise ValueError(
            f"{len(prompts)} prompts, {len(responses_a)} and {len(responses_b)} responses; expected as many of each"
        )
    columns: dict[str, list[object]] = {name: [None] * len(prompts) for name in FEATURES}
    for row, texts in enumerate(zip(prompts, responses_a, responses_b, strict=True)):
        oddities: set[str] = set()
        prompt, a, b = (clean_turns([text] if isinstance(text, str) else text, oddities) for text in texts)
        present = {
            "empty_prompt": is_blank(prompt),
            "empty_response": is_blank(a) or is_blank(b),
            "identical_responses": a == b,
            "unequal_turns": not len(prompt) == len(a) == len(b),
        }
        oddities |= {name for name, is_so in present.items() if is_so}
        values = {"id": str(row), "prompt": prompt, "response_a": a, "response_b": b, "group": group_of(prompt)}
        for name, value in {**values, "source": "memory", "oddities": sorted(oddities)}.items():
            columns[name][row] = value
    table = pa.table(columns, schema=_SCHEMA)
    # A random fingerprint: hashing the table would take longer than a small model takes to read it.
    return datasets.Dataset(table, datasets.DatasetInfo(features=FEATURES), fingerprint=secrets.token_hex(8))
