"""CSV files as blocks of text cells, by Arrow. Text is never guessed at: an id with leading zeros stays what it is."""

import re
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.csv

from arena_data.containers.block import Block, TextColumns
from arena_data.containers.byte_streams import GUESSED
from arena_data.containers.column_names import chosen_columns
from arena_data.containers.csv_layout import CsvLayout, csv_layout
from arena_data.containers.limits import Limits, size_text
from arena_data.errors import InputError

# Arrow reads dozens of its blocks ahead: small ones keep memory low, and are joined into blocks worth parsing at once.
READ_BYTES = 256 << 10
BLOCK_BYTES = 2 << 20
# What Arrow says in a single thread. Its handler of invalid rows would fail, aloud, on bytes that are not UTF-8.
UNEVEN_ROW = re.compile(r"Row #(\d+): Expected \d+ columns, got (\d+)")


def csv_blocks(file: str, wanted: Collection[str], limits: Limits) -> Iterator[Block]:
    """The file's rows in order. Raises: InputError naming the row that is not as long as the header, or too large."""
    layout = csv_layout(file, wanted, limits)
    places = chosen_columns(file, layout.names, wanted, limits)
    done, read_bytes = 0, READ_BYTES
    while True:
        seen = 0
        try:
            reader = _open_csv(file, layout, places, read_bytes, limits)
            waiting: list[pa.RecordBatch] = []
            waiting_bytes = 0
            for batch in reader:
                rows, seen = batch.num_rows, seen + batch.num_rows
                if seen <= done:
                    continue  # Read already, before the blocks had to grow.
                waiting.append(batch.slice(max(0, rows - (seen - done))) if not waiting else batch)
                waiting_bytes += batch.nbytes
                if waiting_bytes >= BLOCK_BYTES:
                    yield _text_block(file, done + 1, pa.concat_batches(waiting), places, layout, limits)
                    done, waiting, waiting_bytes = seen, [], 0
            if waiting:
                yield _text_block(file, done + 1, pa.concat_batches(waiting), places, layout, limits)
                done = seen
            if done == 0:
                yield Block(file, 1, {name: [] for name in places}, tuple(layout.names))
            return
        except pa.ArrowInvalid as error:
            if uneven := UNEVEN_ROW.search(str(error)):
                raise InputError(
                    f"a row of another length{layout.describe()}",
                    file=file,
                    row=int(uneven[1]) - 1 - layout.skipped_lines,  # Arrow counts the header, and the lines before it.
                    found=f"{uneven[2]} cells",
                    expected=f"{len(layout.names)}, as in the header",
                    fix="does the file begin with a line that is no header?"
                    if len(layout.names) == 1
                    else "is a quote left open, or the file cut short?",
                ) from error
            if "Empty CSV file" in str(error):
                yield Block(file, 1, {name: [] for name in places}, tuple(layout.names))
                return
            if "straddl" not in str(error):
                raise
            if read_bytes >= limits.row:
                raise InputError(
                    f"a row is longer than {size_text(read_bytes)}",
                    file=file,
                    row=seen + 1,
                    fix="is a quote left open?",
                ) from error
            read_bytes *= 4  # A row longer than a block: begin again with larger blocks, past what was read.


def _open_csv(
    file: str,
    layout: CsvLayout,
    places: Mapping[str, int],
    read_bytes: int,
    limits: Limits,
) -> pa.csv.CSVStreamingReader:
    """A reader of the columns at `places`, as bytes.

    The stream is not closed here: Arrow's reader reads ahead in a thread that a caller cannot wait for. A file that is
    closed meanwhile gives its number to the next one opened, whose first bytes the late read would take.
    """

    kept = [f"f{place}" for place in places.values()]
    return pa.csv.open_csv(
        layout.open(file, limits),
        read_options=pa.csv.ReadOptions(
            block_size=read_bytes,
            use_threads=False,
            skip_rows=layout.skipped_lines,
            autogenerate_column_names=True,  # f0, f1, …: the header may name a column as it likes.
            skip_rows_after_names=1,
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=layout.delimiter,
            escape_char="\\" if layout.backslashes else False,
            double_quote=not layout.backslashes,
            newlines_in_values=True,
        ),
        # Binary, not string: a cell that is not UTF-8 is repaired below instead of ending the run.
        convert_options=pa.csv.ConvertOptions(include_columns=kept, column_types={name: pa.binary() for name in kept}),
    )


def _text_block(
    file: str, first_row: int, batch: pa.RecordBatch, places: Mapping[str, int], layout: CsvLayout, limits: Limits
) -> Block:
    texts, repaired = {}, set()
    for name, cells in zip(places, batch.columns, strict=True):
        _check_sizes(file, first_row, name, cells, limits)
        try:
            texts[name] = cells.cast(pa.string())
        except pa.ArrowInvalid:
            raw = cells.to_pylist()
            decoded = [cell.decode("utf-8", "replace") for cell in raw]
            repaired |= {(name, i) for i, cell in enumerate(raw) if cell != decoded[i].encode()}
            texts[name] = pa.array(decoded, type=pa.string())
    oddities = frozenset({"another_encoding"} if layout.encoding in GUESSED else ())
    return Block(file, first_row, TextColumns(texts), tuple(layout.names), texts, repaired, oddities)


def _check_sizes(file: str, first_row: int, name: str, cells: pa.BinaryArray, limits: Limits) -> None:
    bounds = np.frombuffer(cells.buffers()[1], dtype=np.int32)[cells.offset : cells.offset + len(cells) + 1]
    sizes = np.diff(bounds)
    if sizes.size and sizes.max() > limits.cell:
        index = int(np.argmax(sizes > limits.cell))
        refuse_cell(file, first_row + index, name, int(sizes[index]), limits)


def refuse_cell(file: str, row: int, name: str, size: int, limits: Limits) -> None:
    """Raises: InputError."""
    raise InputError(
        f"a text of {size_text(size)}", file=file, row=row, column=name, expected=f"at most {size_text(limits.cell)}"
    )
