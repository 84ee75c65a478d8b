"""Three battles as a table, to be written the ways that files in the wild write them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles

Row = dict[str, Any]
COLUMNS = ("id", "prompt", "response_a", "response_b")
BATTLES: list[Row] = [
    {"id": "101", "prompt": ["How tall?"], "response_a": ["It's 300 m."], "response_b": ['About "324" metres.']},
    {
        "id": "102",
        "prompt": ["Two fruits.", "A third?"],
        "response_a": ["Apple; pear", "Plum"],
        "response_b": ["Fig", "No"],
    },
    {"id": "103", "prompt": ["Sag\nhallo."], "response_a": ["Hallo!"], "response_b": ["Guten, Tag."]},
]
PLAIN: list[Row] = [
    {"id": "101", "prompt": "How tall?", "response_a": "300 m", "response_b": "About 324"},
    {"id": "102", "prompt": "Two fruits.", "response_a": "Apple, pear.", "response_b": "Fig; kiwi."},
    {"id": "103", "prompt": "Sag hallo.", "response_a": "Hallo!", "response_b": "Guten Tag."},
]


def csv_text(rows: list[Row], **dialect: Any) -> str:
    """The rows as CSV; a cell that is no text is written as JSON."""
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, list(rows[0]), lineterminator="\n", **dialect)
    writer.writeheader()
    writer.writerows({k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()} for row in rows)
    return lines.getvalue()


def load(folder: Path, name: str, content: str | bytes | None = None, **options: Any) -> datasets.Dataset:
    """The battles of a file, written first where its content is given."""
    if content is not None:
        (folder / name).write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return load_battles(str(folder / name), cache_dir=str(folder / "cache"), **options)


def error_of(folder: Path, name: str, content: str | bytes | None = None, **options: Any) -> InputError:
    """The error a file is refused with, which is one line that names the file."""
    with pytest.raises(InputError) as info:
        load(folder, name, content, **options)
    message = str(info.value)
    assert len(message.splitlines()) == 1 and len(message) < 1200 and name in message, message
    return info.value


def rows_of(battles: datasets.Dataset, columns: tuple[str, ...] = COLUMNS) -> list[Row]:
    return [{name: battle[name] for name in columns} for battle in battles]


def as_turns(rows: list[Row]) -> list[Row]:
    """Rows of plain texts as battles of one turn."""
    return [{name: cell if name == "id" else [cell] for name, cell in row.items()} for row in rows]
