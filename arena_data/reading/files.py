"""Files in, blocks of raw rows out: CSV, Parquet, JSON and JSON Lines, plain or .gz / .zst, on disk or at a URL.

A `Block` is a few thousand rows as columns of plain Python values, so that formats need not know what file they came
from, and a file larger than memory can be read. Text is never guessed at: every CSV cell arrives as the text it was,
so an id beyond 32 bits, or with leading zeros, stays what it is.
"""

import contextlib
import csv
import io
from collections.abc import Collection, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from arena_data.errors import InputError
from arena_data.reading.json_rows import json_rows, refuse_utf16

CONTAINERS = {".csv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
ROWS_PER_BLOCK = 4096
# Arrow reads dozens of its blocks ahead: small ones keep memory low, and are joined into blocks worth parsing at once.
CSV_READ_BYTES = 256 << 10
CSV_BLOCK_BYTES = 2 << 20


@dataclass
class Block:
    """Some rows of one file. `first_row` is the number, from 1, of the first of them; all columns are equally long."""

    file: str
    first_row: int
    columns: Mapping[str, list[Any]]
    # The same cells as Arrow has them, where the file is of text cells (CSV); empty elsewhere.
    texts: Mapping[str, pa.StringArray] = field(default_factory=dict)
    # Cells that were not UTF-8 and were repaired, as (column, index in the block).
    repaired: set[tuple[str, int]] = field(default_factory=set)

    def __len__(self) -> int:
        texts = next(iter(self.texts.values()), None)
        return len(texts) if texts is not None else len(next(iter(self.columns.values()), []))

    def row_number(self, index: int) -> int:
        return self.first_row + index


class _Columns(Mapping[str, list[Any]]):
    """Arrow columns as lists of Python values, each made when it is first asked for."""

    def __init__(self, texts: Mapping[str, pa.StringArray]):
        self._texts, self._made = texts, dict[str, list[Any]]()

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._made:
            self._made[name] = self._texts[name].to_pylist()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def container(file: str) -> tuple[str, str | None]:
    """What a file holds, and how it is compressed, by its name: `("csv", "gzip")` for `train.csv.gz`.

    Raises: InputError for any other ending.
    """
    # Only a URL has a query; a local file's name may hold a question mark.
    path = PurePosixPath(file.split("::")[0].split("?")[0] if "://" in file else file)
    suffix = path.suffix.lower()
    compression = COMPRESSIONS.get(suffix)
    if compression:
        suffix = path.with_suffix("").suffix.lower()
    if suffix not in CONTAINERS:
        endings = " ".join(CONTAINERS)
        raise InputError("not a file of battles", file=file, expected=f"{endings}, plain or .gz or .zst")
    return CONTAINERS[suffix], compression


def open_bytes(file: str) -> pa.NativeFile:
    """A stream of the file's bytes, decompressed. Local paths and URLs alike."""
    compression = container(file)[1]
    stream = pa.PythonFile(fsspec.open(file, "rb").open(), mode="r") if "://" in file else pa.OSFile(file)
    return pa.CompressedInputStream(stream, compression) if compression else stream


def read_blocks(file: str, wanted: Collection[str]) -> Generator[Block, None, None]:
    """Yields the file's rows in order; an empty file with a header yields one block of no rows.

    Args:
        file: path or URL.
        wanted: columns worth reading; others are passed over: some releases hold a conversation thrice.

    Raises: InputError where the file cannot be read as what its name says.
    """
    kind = container(file)[0]
    readers = {"csv": _csv_blocks, "parquet": _parquet_blocks, "json": _json_blocks}
    try:
        yield from _ahead(readers[kind](file, wanted))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"cannot be opened ({error.strerror or error})", file=file) from error
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as {kind}: {error}", file=file, fix="is the file whole?") from error


def _ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks, each read in a thread while the one before it is used: Arrow reads without Python's lock."""
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        waiting = thread.submit(next, blocks, None)
        while (block := waiting.result()) is not None:
            waiting = thread.submit(next, blocks, None)
            yield block
    finally:
        # Not joined: the garbage collector may close a generator that was left half read, inside any thread's start,
        # where a join would wait for a lock that this very thread holds.
        thread.shutdown(wait=False, cancel_futures=True)


def _header(file: str) -> list[str]:
    """The first record of a CSV file, without a byte order mark."""
    with open_bytes(file) as stream:
        start = stream.read(1 << 20)
    refuse_utf16(file, start)
    try:
        names = next(csv.reader(io.StringIO(start.decode("utf-8-sig", "replace"), newline="")), [])
    except csv.Error as error:
        raise InputError(f"has no readable header ({error})", file=file, fix="is a quote left open?") from error
    if not names:
        raise InputError("is empty", file=file, expected="a header line and battles")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError("column named twice", file=file, column=sorted(twice)[0], fix="rename one of them")
    return names


def _csv_blocks(file: str, wanted: Collection[str]) -> Iterator[Block]:
    names = _header(file)
    kept = [name for name in names if name in wanted] or names[:1]
    invalid: list[pa.csv.InvalidRow] = []

    def note(row: pa.csv.InvalidRow) -> str:
        invalid.append(row)
        return "error"

    done, block_bytes = 0, CSV_READ_BYTES
    while True:
        seen = 0
        try:
            with open_bytes(file) as stream:
                # Binary, not string: a cell that is not UTF-8 is repaired below instead of ending the run.
                convert = pa.csv.ConvertOptions(include_columns=kept, column_types={name: pa.binary() for name in kept})
                reader = pa.csv.open_csv(
                    stream,
                    # One thread: with its own pool, pyarrow 26.0 once ended a file one block early, without an error.
                    read_options=pa.csv.ReadOptions(block_size=block_bytes, use_threads=False),
                    parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
                    convert_options=convert,
                )
                waiting: list[pa.RecordBatch] = []
                waiting_bytes = 0
                for batch in reader:
                    rows, seen = batch.num_rows, seen + batch.num_rows
                    if seen <= done:
                        continue  # Read already, before the blocks had to grow.
                    waiting.append(batch.slice(max(0, rows - (seen - done))) if not waiting else batch)
                    waiting_bytes += batch.nbytes
                    if waiting_bytes >= CSV_BLOCK_BYTES:
                        yield _text_block(file, done + 1, pa.concat_batches(waiting))
                        done, waiting, waiting_bytes = seen, [], 0
                if waiting:
                    yield _text_block(file, done + 1, pa.concat_batches(waiting))
                    done = seen
                if done == 0:
                    yield Block(file, 1, {name: [] for name in kept})
                return
        except pa.ArrowInvalid as error:
            if invalid:
                found, expected = f"{invalid[0].actual_columns} cells", f"{len(names)}, as in the header"
                raise InputError(
                    "a row of another length",
                    file=file,
                    row=_uneven_row(file, block_bytes),
                    found=found,
                    expected=expected,
                    fix="is a quote left open, or the file cut short?",
                ) from error
            if "Empty CSV file" in str(error):
                yield Block(file, 1, {name: [] for name in kept})
                return
            if "straddl" not in str(error) or block_bytes >= 1 << 30:
                raise
            block_bytes *= 4  # A row longer than a block: begin again with larger blocks, past what was read.


def _uneven_row(file: str, block_bytes: int) -> int | None:
    """The number of the first row that is not as long as the header: Arrow counts rows in a single thread only."""
    numbers: list[int] = []

    def note(row: pa.csv.InvalidRow) -> str:
        numbers.append(row.number - 1)  # It counts the header.
        return "error"

    with contextlib.suppress(pa.ArrowInvalid), open_bytes(file) as stream:
        for _ in pa.csv.open_csv(
            stream,
            read_options=pa.csv.ReadOptions(block_size=block_bytes, use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note),
            convert_options=pa.csv.ConvertOptions(include_columns=_header(file)[:1]),
        ):
            pass
    return numbers[0] if numbers else None


def _text_block(file: str, first_row: int, batch: pa.RecordBatch) -> Block:
    texts, repaired = {}, set()
    for name, cells in zip(batch.schema.names, batch.columns, strict=True):
        try:
            texts[name] = cells.cast(pa.string())
        except pa.ArrowInvalid:
            raw = cells.to_pylist()
            decoded = [cell.decode("utf-8", "replace") for cell in raw]
            repaired |= {(name, i) for i, cell in enumerate(raw) if cell != decoded[i].encode()}
            texts[name] = pa.array(decoded, type=pa.string())
    return Block(file, first_row, _Columns(texts), texts, repaired)


def _parquet_blocks(file: str, wanted: Collection[str]) -> Iterator[Block]:
    # Parquet is read from its end: a compressed or remote file is brought to memory first.
    stream = open_bytes(file)
    seekable = container(file)[1] is None
    parquet = pa.parquet.ParquetFile(stream if seekable else pa.BufferReader(stream.read()))
    names = parquet.schema_arrow.names
    kept = [name for name in names if name in wanted] or names[:1]
    row = 1
    for batch in parquet.iter_batches(batch_size=ROWS_PER_BLOCK, columns=kept):
        yield Block(file, row, batch.to_pydict())
        row += batch.num_rows
    if row == 1:
        yield Block(file, 1, {name: [] for name in kept})


def _json_blocks(file: str, wanted: Collection[str]) -> Iterator[Block]:
    """JSON Lines, or one document that is a list of objects (also under a single key, as `{"data": [...]}`)."""
    rows: list[dict[str, Any]] = []
    first_row, lines_read = 1, 0
    with open_bytes(file) as stream:
        for row in json_rows(file, io.BufferedReader(stream)):
            lines_read += 1
            if not isinstance(row, dict):
                raise InputError("not an object", file=file, row=lines_read, found=row, expected="a JSON object")
            rows.append(row)
            if len(rows) == ROWS_PER_BLOCK:
                yield _row_block(file, first_row, rows, wanted)
                first_row, rows = first_row + len(rows), []
    if lines_read == 0:
        raise InputError("is empty", file=file, expected="battles")
    if rows:
        yield _row_block(file, first_row, rows, wanted)


def _row_block(file: str, first_row: int, rows: list[dict[str, Any]], wanted: Collection[str]) -> Block:
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name in wanted]
    return Block(file, first_row, {name: [row.get(name) for row in rows] for name in names})
