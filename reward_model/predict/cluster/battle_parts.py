"""A file of battles, read a part at a time: what a reading task of the cluster does.

Rows are read by `arena_data.reading.builder`, as for any prediction, so layouts, ids and errors are the same. A file is read
by one task, in order, for its ids and its text cells make sense together only. What is in memory is one part, one block of
the reader, and the file's ids (about 130 bytes a battle).
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from arena_data.reading.builder import battle_tables
from arena_data.schema import FEATURES
from reward_model.errors import ModelError
from reward_model.predict.cluster import partition
from reward_model.predict.cluster.work_plan import WorkPlan, this_code

# A row a part: Ray may cut and join blocks of rows, but never a row.
PART_SCHEMA = pa.schema(
    [
        ("file", pa.int64()),
        ("part", pa.int64()),
        ("first_row", pa.int64()),
        ("rows", pa.int64()),
        ("parts", pa.int64()),  # of the whole file, said by its last part; 0 from the others
        ("failed", pa.int64()),  # of a part that was scored before
        ("oddities", pa.string()),  # counts by name, as JSON
        ("battles", pa.large_binary()),  # Arrow's stream format; empty for a part that needs no scoring
    ]
)


@dataclass(frozen=True)
class Part:
    """Battles of one file from `first_row`, counted from 1. is_last: whether the file ends with them."""

    number: int
    first_row: int
    battles: pa.Table
    is_last: bool


def parts_of(plan: WorkPlan, file: int) -> Iterator[Part]:
    """The parts of a file of battles, in order; one without rows for a file without battles.

    Raises: InputError, one line, for a row that cannot be read.
    """
    name, size = plan.files[file], plan.partition_rows
    left = FEATURES.arrow_schema.empty_table()
    number = 0
    for _, _, table in battle_tables([(name, name)], "optional", first_file=file):
        left = pa.concat_tables([left, table])
        while left.num_rows > size:  # at least one row is kept back: nobody knows yet whether more follow
            yield Part(number, number * size + 1, left.slice(0, size), is_last=False)
            left, number = left.slice(size), number + 1
    yield Part(number, number * size + 1, left, is_last=True)


def read_parts(batch: pa.Table, plan: WorkPlan) -> Iterator[pa.Table]:
    """A Ray Data task: tables of `PART_SCHEMA` with a row each, of the files in column `file`.

    A part whose partition is there and whole comes without its battles.

    Raises: InputError for a row that cannot be read, ModelError on a machine with other code.
    """
    with lines_kept():
        check_code(plan)
        for file in batch.column("file").to_pylist():
            there = plan.folder.names(plan.parts_folder(file))
            for part in parts_of(plan, file):
                name = plan.part_name(file, part.number)
                done = partition.read(plan, name, part.battles.num_rows) if name.rpartition("/")[2] in there else None
                needed = part.battles.num_rows > 0 and done is None
                yield _row(file, part, _packed(part.battles) if needed else b"", done.failed if done else 0)


@contextlib.contextmanager
def lines_kept() -> Iterator[None]:
    """Notes the line of an error on it: Ray Data 2.60 adds advice to try again to an error's own text."""
    try:
        yield
    except (ValueError, OSError) as error:
        error.add_note(str(error))
        raise


def check_code(plan: WorkPlan) -> None:
    """Raises: ModelError where this machine has another version of the package than the one that made the plan."""
    if plan.code != this_code():
        version = this_code().partition(" ")[0]
        raise ModelError(f"a machine of the cluster has another arena-reward-model ({version}) than the first one")


def unpacked(content: bytes) -> pa.Table:
    """The battles of a part."""
    with pa.ipc.open_stream(content) as stream:
        return stream.read_all()


def _packed(battles: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, battles.schema) as stream:
        stream.write_table(battles)
    return bytes(sink.getvalue().to_pybytes())


def _row(file: int, part: Part, battles: bytes, failed: int) -> pa.Table:
    odd = Counter(name for names in part.battles.column("oddities").to_pylist() for name in names)
    values = {
        "file": file,
        "part": part.number,
        "first_row": part.first_row,
        "rows": part.battles.num_rows,
        "parts": part.number + 1 if part.is_last else 0,
        "failed": failed,
        "oddities": json.dumps(odd),
        "battles": battles,
    }
    return pa.Table.from_pylist([values], schema=PART_SCHEMA)
