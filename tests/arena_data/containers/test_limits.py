"""Bounds are kept while reading: bombs, giant cells and endless lines end in one line, in little memory and time."""

import gzip
import io
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arena_data.containers.limits import LIMITS, MIB, Limits
from arena_data.containers.parquet_tables import BLOCK_BYTES, parquet_blocks
from arena_data.reading.families import WANTED
from tests.helpers.small_tables import PLAIN, csv_text, error_of, load

SMALL = Limits(
    cell=1 << 16, row=1 << 18, columns=50, document=1 << 20, expansion=20, expansion_from=1 << 20, header=1 << 14
)
HEADER = "id,prompt,response_a,response_b\n"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst", "jsonl.gz", "json.zst", "parquet.gz"])
def test_a_bomb_is_refused(ending: str, tmp_path: Path) -> None:
    content = (HEADER + "1,p,a,b\n" * 400_000).encode()
    if "json" in ending:
        content = (json.dumps(PLAIN[0]) + "\n").encode() * 40_000
    data = gzip.compress(content) if ending.endswith("gz") else zstd(content)
    error = error_of(tmp_path, f"f.{ending}", data, limits=SMALL)
    assert "compressed bytes" in str(error)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "lists.parquet"])
def test_a_giant_cell_is_named(kind: str, tmp_path: Path) -> None:
    rows = [*PLAIN[:2], PLAIN[2] | {"response_b": "x" * 100_000}]
    content: str | bytes = csv_text(rows)
    if kind.startswith("json"):
        content = "".join(json.dumps(r) + "\n" for r in rows) if kind == "jsonl" else json.dumps(rows)
    if kind.endswith("parquet"):
        if kind.startswith("lists"):
            rows = [{k: v if k == "id" else [v] for k, v in row.items()} for row in rows]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        content = sink.getvalue()
    error = error_of(tmp_path, f"f.{kind}", content, limits=SMALL)
    assert (error.row, error.column) == (3, "response_b") and "65,536 bytes" in str(error)
    assert len(load(tmp_path, f"f.{kind}")) == 3  # Ours by default are far above it.


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
def test_a_line_without_end_is_refused(name: str, tmp_path: Path) -> None:
    start = HEADER + '1,p,a,"' if name == "f.csv" else json.dumps(PLAIN[0]) + '\n{"id": "'
    error = error_of(tmp_path, name, start + "x" * 3_000_000, limits=SMALL)
    assert "longer than" in str(error) and error.row in (1, 2)


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl", "f.parquet"])
def test_columns_are_bounded(name: str, tmp_path: Path) -> None:
    row: dict[str, Any] = PLAIN[0] | {f"c{n}": "x" for n in range(60)}
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row]), sink)
    content = {"f.csv": csv_text([row]), "f.jsonl": json.dumps(row), "f.parquet": sink.getvalue()}[name]
    assert "64 columns" in str(error_of(tmp_path, name, content, limits=SMALL))
    assert len(load(tmp_path, name)) == 1


def test_many_keys_take_no_quadratic_time(tmp_path: Path) -> None:
    text = json.dumps(PLAIN[0] | dict.fromkeys((f"c{n}" for n in range(200_000)), 0))
    start = time.perf_counter()
    assert "columns" in str(error_of(tmp_path, "f.jsonl", text))
    assert time.perf_counter() - start < 20


def test_a_document_is_bounded(tmp_path: Path) -> None:
    text = json.dumps([PLAIN[0]] * 20_000)
    assert "has to be read as a whole" in str(error_of(tmp_path, "f.json", text, limits=SMALL))


def test_repeated_large_values_of_parquet_are_decoded_a_few_at_a_time(tmp_path: Path) -> None:
    """A dictionary of one text of a megabyte and 500 rows of it take a megabyte in the file and 500 in one block."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 500, pa.int32()), pa.array(["x" * MIB]))
    table = pa.table({"prompt": ["p"] * 500, "response_a": column, "response_b": ["b"] * 500})
    pq.write_table(table, tmp_path / "f.parquet")
    blocks = parquet_blocks(str(tmp_path / "f.parquet"), WANTED, LIMITS)
    assert max(len(next(blocks)) for _ in range(3)) * MIB <= 2 * BLOCK_BYTES
