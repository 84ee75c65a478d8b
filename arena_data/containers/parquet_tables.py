"""Parquet files as blocks of Python values. Some columns are read only; memory follows what a block decodes to."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from arena_data.containers.block import Block
from arena_data.containers.byte_streams import container, open_bytes, read_whole
from arena_data.containers.column_names import chosen_columns
from arena_data.containers.csv_tables import refuse_cell
from arena_data.containers.limits import Limits

ROWS_PER_BLOCK = 4096
BLOCK_BYTES = 32 << 20
# A few repeated values of megabytes take little room in a file and much in memory: it is decoded a few rows at a time.
ROWS_PER_READ = 64


def parquet_blocks(file: str, wanted: Collection[str], limits: Limits) -> Iterator[Block]:
    """The file's rows in order. Raises: InputError for a cell or a column beyond the limits."""
    stream = open_bytes(file, limits)
    # Parquet is read from its end: a compressed file is brought to memory first.
    whole = container(file)[1] is None
    parquet = pa.parquet.ParquetFile(stream if whole else pa.BufferReader(read_whole(file, stream, limits)))
    names = parquet.schema_arrow.names
    places = chosen_columns(file, names, wanted, limits)
    kept = [names[place] for place in places.values()]
    row, waiting = 1, list[pa.RecordBatch]()
    for batch in parquet.iter_batches(batch_size=ROWS_PER_READ, columns=kept):
        batch = _decoded(batch)
        _check_sizes(file, row + sum(part.num_rows for part in waiting), batch, limits)
        waiting.append(batch)
        rows = sum(part.num_rows for part in waiting)
        if rows >= ROWS_PER_BLOCK or sum(part.nbytes for part in waiting) >= BLOCK_BYTES:
            yield _value_block(file, row, waiting, places, names)
            row, waiting = row + rows, []
    if waiting or row == 1:
        yield _value_block(file, row, waiting, places, names)


def _value_block(
    file: str, row: int, batches: list[pa.RecordBatch], places: Mapping[str, int], names: list[str]
) -> Block:
    columns: dict[str, list[Any]] = {name: [] for name in places}
    for batch in batches:
        for name, place in places.items():
            columns[name] += batch.column(names[place]).to_pylist()
    return Block(file, row, columns, tuple(names))


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with categories as the texts they stand for, so that sizes say what the rows take."""
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _check_sizes(file: str, row: int, batch: pa.RecordBatch, limits: Limits) -> None:
    """Raises: InputError for a row that holds a text beyond the limit of a cell."""
    if batch.nbytes <= limits.cell:
        return
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for index in range(len(column)):
            if (size := _largest_text(column.slice(index, 1))) > limits.cell:
                refuse_cell(file, row + index, name, size, limits)


def _largest_text(values: pa.Array) -> int:
    """The size in bytes of the largest text in an array, however deep it lies."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _largest_text(values.dictionary_decode())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _largest_text(values.flatten())
    if pa.types.is_struct(kind):
        return max(map(_largest_text, values.flatten()), default=0)
    if pa.types.is_map(kind):
        return max(_largest_text(values.keys), _largest_text(values.items))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return pc.max(pc.binary_length(values)).as_py() or 0
    return 0
