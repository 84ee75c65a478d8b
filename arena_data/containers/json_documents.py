"""One JSON document in, rows out, whichever way it is laid out.

| layout | written by |
| --- | --- |
| `[{…}, {…}]`, also under one key: `{"data": [{…}]}` | most programs; pandas' orient `records` and `table` |
| `{"id": {"0": …}, "prompt": {"0": …}}` | pandas, by default (`columns`) |
| `{"id": […], "prompt": […]}` | `datasets`' `to_dict` |
| `{"columns": […], "data": [[…]]}` | pandas' `split` and `tight` |
| `{"0": {"prompt": …}, "1": {…}}` | pandas' `index` |
| `{"rows": [{"row_idx": 0, "row": {…}}]}` | the Hub's dataset viewer |

A document of no known layout is read as one battle only if it has a battle's columns.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from arena_data.containers.column_names import known_names, plain_name
from arena_data.errors import InputError

# Columns whose cell may be an object in a single battle.
OBJECT_CELLS = {"votes", "teacher"}
# Columns whose cell may be a list in a single battle.
LIST_CELLS = {"prompt", "response_a", "response_b", "conversation_a", "conversation_b", "chosen", "rejected"}
LIST_CELLS |= {"context", "history", "conversation", "judge", *OBJECT_CELLS}


def document_rows(file: str, document: Any, wanted: Collection[str]) -> Iterable[Any]:
    """The rows of a document, whatever their type.

    Raises: InputError, saying what it looks like, where its layout is not certain.
    """
    if isinstance(document, list):
        if document and all(isinstance(row, list) for row in document):
            raise InputError(
                "looks like rows without column names (pandas' orient 'values')",
                file=file,
                fix="write it with orient='records'",
            )
        if document and all(isinstance(row, dict) and isinstance(row.get("row"), dict) for row in document):
            return [row["row"] for row in document]
        return document
    if not isinstance(document, dict):
        raise InputError("not battles", file=file, found=document, expected="a list of JSON objects")
    if isinstance(document.get("columns"), list) and isinstance(document.get("data"), list):
        return _split_rows(file, document["columns"], document["data"])
    known = _known(document, wanted)
    if len(known) >= 2:
        return _columns_or_battle(file, document, known)
    rows = list(document.values())
    if (
        rows
        and all(isinstance(row, dict) and len(_known(row, wanted)) >= 2 for row in rows)
        and not _are_tables(rows, wanted)
    ):
        return rows
    return _wrapped_rows(file, document, wanted)


def _known(row: Mapping[str, Any], wanted: Collection[str]) -> dict[str, str]:
    """The names of a row that formats know, as the row writes them, with what they are known as."""
    names = [name for name in row if isinstance(name, str)]
    return {name: known for name, known in zip(names, known_names(names, wanted), strict=True) if known is not None}


def _are_tables(rows: list[Any], wanted: Collection[str]) -> bool:
    """Whether the objects are tables by column, such as the parts of a data set, rather than battles."""
    return any(
        isinstance(row[name], list | dict) and known not in LIST_CELLS
        for row in rows
        for name, known in _known(row, wanted).items()
    )


def _split_rows(file: str, names: list[Any], rows: list[Any]) -> list[dict[str, Any]]:
    if not all(isinstance(name, str) for name in names):
        raise InputError("looks like pandas' orient 'split', without names of columns", file=file, found=names)
    plain = [plain_name(name) for name in names]
    if len(set(plain)) < len(plain):
        twice = next(name for name in plain if plain.count(name) > 1)
        raise InputError("column named twice", file=file, column=twice, fix="rename one of them")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            raise InputError(
                "looks like pandas' orient 'split', with a row of another length",
                file=file,
                row=number,
                found=row,
                expected=f"{len(names)} cells",
            )
    return [dict(zip(names, row, strict=True)) for row in rows]


def _columns_or_battle(file: str, document: dict[str, Any], known: dict[str, str]) -> list[dict[str, Any]]:
    cells = {name: value for name, value in document.items() if known.get(name) not in OBJECT_CELLS and name in known}
    objects = [name for name, value in cells.items() if isinstance(value, dict)]
    lists = [name for name, value in cells.items() if isinstance(value, list)]
    if objects:
        columns = {name: value for name, value in document.items() if isinstance(value, dict)}
        first = columns[objects[0]]
        for name in cells:
            if name not in columns or columns[name].keys() != first.keys():
                raise InputError(
                    "looks like JSON by column (pandas' orient 'columns'), with columns of different rows",
                    file=file,
                    column=name,
                    fix="write it with orient='records'",
                )
        kept = {name: value for name, value in columns.items() if value.keys() == first.keys()}
        return [{name: column[row] for name, column in kept.items()} for row in first]
    one_vote = any(
        isinstance(value, dict) and not any(isinstance(share, list | dict) for share in value.values())
        for name, value in document.items()
        if known.get(name) in OBJECT_CELLS
    )
    if one_vote or not lists or (len(lists) < len(cells) and all(known[name] in LIST_CELLS for name in lists)):
        return [document]
    by_column = any(known[name] not in LIST_CELLS for name in lists)
    if not by_column:
        by_column = any(isinstance(cell, list) for name in lists for cell in document[name])
    longest = max(len(document[name]) for name in lists)
    if not by_column:
        is_messages = any(isinstance(cell, dict) for name in lists for cell in document[name])
        if is_messages or longest <= 1 or not file.lower().split("?")[0].removesuffix(".gz").endswith(".json"):
            return [document]
        raise InputError(
            f"looks like JSON by column with {longest} rows, or one battle of {longest} turns",
            file=file,
            fix="write a list of objects, one a battle",
        )
    uneven = [name for name in known if not isinstance(document[name], list) or len(document[name]) != longest]
    if uneven:
        raise InputError(
            "looks like JSON by column, with columns of different lengths",
            file=file,
            column=uneven[0],
            expected=f"{longest} rows",
            fix="write a list of objects, one a battle",
        )
    listed = {name: value for name, value in document.items() if isinstance(value, list) and len(value) == longest}
    return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]


def _wrapped_rows(file: str, document: dict[str, Any], wanted: Collection[str]) -> Iterable[Any]:
    """The rows under one of a document's keys."""
    tables = {
        name: value
        for name, value in document.items()
        if (isinstance(value, list) and value and all(isinstance(row, dict | list) for row in value))
        or (isinstance(value, dict) and len(_known(value, wanted)) >= 2)
    }
    # A description of the columns is a list of objects, too; the Hub's viewer puts one before the rows.
    if "rows" in tables or "data" in tables:
        tables = {name: value for name, value in tables.items() if name in ("rows", "data")}
    if len(tables) > 1:
        names = ", ".join(map(repr, list(tables)[:5]))
        raise InputError(f"holds several tables: {names}", file=file, fix="write each to a file of its own")
    if tables:
        return document_rows(file, next(iter(tables.values())), wanted)
    if len(document) == 1 and isinstance(only := next(iter(document.values())), list):
        return only
    return [document]
