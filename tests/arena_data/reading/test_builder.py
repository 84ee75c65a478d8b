"""The builder: every container and compression, cached by content, streamed alike, fast and careful roads agreeing."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena_data.containers import csv_layout
from arena_data.containers.byte_streams import open_bytes
from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.reading.builder import ArenaBattles, _table
from arena_data.reading.families import WANTED
from arena_data.reading.files import read_blocks
from arena_data.reading.formats import BlockReader
from arena_data.schema import FEATURES

Row = dict[str, Any]
REPOSITORY = Path(__file__).resolve().parents[3]
WINNERS = ("winner_model_a", "winner_model_b", "winner_tie")
TEXTS = ("prompt", "response_a", "response_b")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., datasets.Dataset]:
    return lambda *files, **options: load_battles(
        [str(file) for file in files], cache_dir=str(tmp_path / "cache"), **options
    )


def rows_of(count: int, start: int = 0) -> list[Row]:
    return [
        {"id": str(n), "prompt": [f"Prompt {n}"], "response_a": [f"a{n}"], "response_b": [f"other {n}"]}
        | {"winner": ("model_a", "model_b", "tie")[n % 3]}
        for n in range(start, start + count)
    ]


def csv_text(rows: list[Row]) -> str:
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, list(rows[0]))
    writer.writeheader()
    writer.writerows({k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
    return lines.getvalue()


def content(rows: list[Row], kind: str) -> bytes:
    if kind == ".parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue().to_pybytes()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    texts = {".csv": csv_text(rows), ".json": json.dumps(rows), ".jsonl": lines, ".ndjson": lines}
    return texts[kind].encode()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PRESSED = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


@pytest.mark.parametrize("pressed", PRESSED)
@pytest.mark.parametrize("kind", [".csv", ".json", ".jsonl", ".ndjson", ".parquet"])
def test_every_container_plain_and_compressed(kind: str, pressed: str, tmp_path: Path, load: Any) -> None:
    rows = rows_of(20)
    file = tmp_path / f"Some.Name{kind.upper()}{pressed}"
    file.write_bytes(PRESSED[pressed](content(rows, kind)))
    battles = load(file, labels="required")
    assert [{name: battle[name] for name in ("id", *TEXTS)} for battle in battles] == [
        {name: row[name] for name in ("id", *TEXTS)} for row in rows
    ]
    assert [v.index(1) for v in battles["verdict"]] == [n % 3 for n in range(20)]


def test_an_object_with_one_list_is_that_list(tmp_path: Path, load: Any) -> None:
    (tmp_path / "f.json").write_text(json.dumps({"data": rows_of(3)}))
    assert load(tmp_path / "f.json")["id"] == ["0", "1", "2"]


def test_several_files_and_globs_keep_their_order(tmp_path: Path, load: Any) -> None:
    for part, kind in enumerate((".csv", ".jsonl", ".parquet")):
        (tmp_path / f"part-{part}{kind}").write_bytes(content(rows_of(3, start=3 * part), kind))
    expected = [str(n) for n in range(9)]
    assert load(tmp_path / "part-*")["id"] == expected
    files = [tmp_path / f"part-{n}" for n in ("2.parquet", "0.csv")]
    battles = load(*files)
    assert battles["id"] == expected[6:] + expected[:3]
    assert battles["source"] == ["part-2"] * 3 + ["part-0"] * 3
    with pytest.raises(InputError, match="duplicate id"):
        load(tmp_path / "part-0.csv", tmp_path / "part-*")


@pytest.mark.parametrize("name", ["a[1]*.csv", "what?.csv", "[!a].jsonl", "a b%20#ü.parquet", ".hidden.csv"])
def test_names_with_characters_of_patterns(name: str, tmp_path: Path, load: Any) -> None:
    folder = tmp_path / ".cache" / "__x[0-9]"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content(rows_of(2), Path(name).suffix))
    (folder / f"a1{Path(name).suffix}").write_bytes(b"not to be read")
    assert load(folder / name)["id"] == ["0", "1"]


def test_a_name_that_datasets_takes_for_a_chain_of_urls_is_an_error(tmp_path: Path, load: Any) -> None:
    (tmp_path / "x::y.csv").write_bytes(content(rows_of(2), ".csv"))
    with pytest.raises(InputError, match=r"x::y\.csv.*rename"):
        load(tmp_path / "x::y.csv")


def test_relative_paths_and_paths_as_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f.csv").write_bytes(content(rows_of(2), ".csv"))
    monkeypatch.chdir(tmp_path)
    assert len(load_battles("f.csv", cache_dir="c")) == len(load_battles(Path("f.csv"), cache_dir="c")) == 2


# -- cache and streaming --------------------------------------------------------------------------------------------


def cached_files(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*.arrow")}


def test_a_second_load_reads_the_cache_and_a_change_is_seen(tmp_path: Path, load: Any) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(content(rows_of(3), ".csv"))
    first = load(file)
    once = cached_files(tmp_path / "cache")
    second = load(file)
    assert len(once) == 1 and cached_files(tmp_path / "cache") == once
    assert first._fingerprint == second._fingerprint and first["id"] == second["id"]

    required = load(file, labels="required")
    both = cached_files(tmp_path / "cache")
    assert len(both) == 2 and once.items() < both.items() and required["id"] == first["id"]

    file.write_bytes(content(rows_of(4), ".csv"))
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 10**9))
    assert len(load(file)) == 4
    assert len(cached_files(tmp_path / "cache")) == 3


def test_an_error_leaves_no_cache_behind(tmp_path: Path, load: Any) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text(json.dumps(rows_of(1)[0] | {"winner": "nobody"}))
    for _ in range(2):
        with pytest.raises(InputError, match="unknown verdict"):
            load(file)
    assert cached_files(tmp_path / "cache") == {}


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_streaming_equals_the_dataset_on_disk(kind: str, tmp_path: Path, load: Any) -> None:
    files = [tmp_path / f"{n}{kind}.gz" for n in range(2)]
    for n, file in enumerate(files):
        file.write_bytes(gzip.compress(content(rows_of(5, start=5 * n), kind)))
    stream = load(*files, streaming=True)
    assert isinstance(stream, datasets.IterableDataset)
    assert list(stream) == list(load(*files)) and cached_files(tmp_path / "cache") != {}


def test_streaming_writes_no_cache_and_reports_errors(tmp_path: Path, load: Any) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows_of(2), rows_of(1)[0]]))
    with pytest.raises(InputError, match=r"row 3, column 'id': duplicate id"):
        list(load(file, streaming=True))
    assert cached_files(tmp_path / "cache") == {}


def test_local_files_need_no_network(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes(content(rows_of(2), ".csv"))
    program = f"from arena_data.loading import load_battles; print(load_battles({str(tmp_path / 'f.csv')!r})['id'][:])"
    # An endpoint that nothing listens on, and no way round it.
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **offline, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "['0', '1']\n"), done.stderr


def test_the_builder_works_as_a_class(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes(content(rows_of(2), ".csv"))
    builder = ArenaBattles(data_files=str(tmp_path / "f.csv"), cache_dir=str(tmp_path), labels="required")
    builder.download_and_prepare()
    assert builder.as_dataset(split="train").features == FEATURES
    assert len(list(builder.as_streaming_dataset(split="train"))) == 2


# -- large rows -----------------------------------------------------------------------------------------------------


def long_rows() -> list[Row]:
    """3,000 rows, among them some of 0.3 to 3 MB: longer than a block of 256 KB, then than a larger one."""
    rows = rows_of(3000)
    for number, size in ((700, 300_000), (701, 300_000), (1500, 3_000_000), (2999, 1_100_000)):
        rows[number]["response_b"] = ["line\n" * (size // 5)]
    return rows


def test_rows_longer_than_a_block_keep_order_and_count(tmp_path: Path, load: Any) -> None:
    rows = long_rows()
    (tmp_path / "f.csv").write_bytes(content(rows, ".csv"))
    battles = load(tmp_path / "f.csv")
    assert battles["id"] == [row["id"] for row in rows]
    assert battles["response_b"] == [row["response_b"] for row in rows]


@pytest.mark.parametrize("bad", [705, 1501, 2998])
def test_row_numbers_stay_right_after_long_rows(bad: int, tmp_path: Path, load: Any) -> None:
    rows = long_rows()
    rows[bad]["winner"] = "nobody"
    (tmp_path / "f.csv").write_bytes(content(rows, ".csv"))
    with pytest.raises(InputError) as info:
        load(tmp_path / "f.csv")
    assert (info.value.row, info.value.column) == (bad + 1, "winner")


def test_the_row_of_another_length_is_found_after_long_rows(tmp_path: Path, load: Any) -> None:
    lines = content(long_rows(), ".csv") + b"3000,short\n" + content(rows_of(9, start=4000), ".csv")
    (tmp_path / "f.csv").write_bytes(lines)
    with pytest.raises(InputError, match="2 cells") as info:
        load(tmp_path / "f.csv")
    assert info.value.row == 3001


def test_no_file_is_closed_while_arrow_may_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow reads ahead in a thread. Were its file closed after an error, the next file opened would get its number, and
    the late read would take that one's first bytes: rows were lost in one load of a hundred, without an error."""
    opened: list[pa.NativeFile] = []

    def spy(*arguments: Any) -> pa.NativeFile:
        opened.append(open_bytes(*arguments))
        return opened[-1]

    monkeypatch.setattr(csv_layout, "open_bytes", spy)
    rows = long_rows()
    (tmp_path / "f.csv").write_bytes(content(rows, ".csv"))
    assert sum(map(len, read_blocks(str(tmp_path / "f.csv"), WANTED))) == len(rows)
    layout_file, *read_ahead = opened
    assert layout_file.closed and len(read_ahead) >= 3  # Blocks had to grow twice at least.
    assert not any(stream.closed for stream in read_ahead)


# -- the fast road and the careful one ------------------------------------------------------------------------------

ODD = [
    "",
    " ",
    "\t\u00a0\u3000",
    "\x1c",
    "\x85",
    "\u180e",
    "\u200b",
    "\r\n",
    "\r",
    "\n",
    "\0",
    "\ufeff",
    "\ufeffa",
    "a",
]
ODD += ["b", "é", "ﻯ", "😀", "\ud83d", "\ude00", "\ud83d\ude00", '"', "\\", ",", "[]", "null", "a\ufeff", "\uffff"]
TURNS = st.lists(st.none() | st.sampled_from(ODD) | st.text(max_size=4), max_size=3)
PLAIN = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=1)
TRIPLE = st.tuples(PLAIN, PLAIN, PLAIN) | st.tuples(TURNS, TURNS, TURNS)


def read_whole(file: Path) -> list[Row]:
    reader = BlockReader(str(file), "optional")
    tables = []
    for block in read_blocks(str(file), WANTED):
        segments, others = reader.read(block)
        tables.append(_table(segments, others))
    return pa.concat_tables(tables).to_pylist()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(triples=st.lists(TRIPLE, min_size=1, max_size=7), escaped=st.booleans())
def test_both_roads_read_the_same_table(triples: list[tuple[Any, Any, Any]], escaped: bool, tmp_path: Path) -> None:
    rows = [
        {"id": str(n), **dict(zip(TEXTS, triple, strict=True)), **dict(zip(WINNERS, "100", strict=True))}
        for n, triple in enumerate(triples)
    ]
    fast, careful = tmp_path / "same.csv", tmp_path / "same.jsonl"
    careful.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cells = [{k: json.dumps(v, ensure_ascii=escaped) if k in TEXTS else v for k, v in row.items()} for row in rows]
    # A lone surrogate cannot be written as UTF-8; only its escape can.
    text = csv_text(cells).encode("utf-8", "backslashreplace")
    fast.write_bytes(text)
    assert read_whole(fast) == read_whole(careful)


@pytest.mark.parametrize("cell", ["[]", "", "null", "[null]", "broken", '[""]'])
def test_a_block_without_a_single_plain_row(cell: str, tmp_path: Path, load: Any) -> None:
    rows = [{"id": str(n), **dict.fromkeys(TEXTS, cell), **dict(zip(WINNERS, "001", strict=True))} for n in range(3)]
    (tmp_path / "f.csv").write_text(csv_text(rows))
    battles = load(tmp_path / "f.csv")
    assert battles["response_a"] == [["broken" if cell == "broken" else ""]] * 3
    assert all("identical_responses" in odd for odd in battles["oddities"])


def test_a_file_left_half_read_can_be_collected_while_a_thread_starts(tmp_path: Path) -> None:
    """A reader that joins its thread when it is collected would wait for a lock that `Thread.start` holds."""
    script = f"""
import gc, threading
from arena_data.reading.files import read_blocks
from arena_data.reading.families import WANTED
file = {str(REPOSITORY / "arena_data" / "sample.csv")!r}
for _ in range(20):
    blocks = read_blocks(file, WANTED)
    next(blocks)
    with threading._shutdown_locks_lock:
        blocks.close()
print("done")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout == "done\n", done.stderr
