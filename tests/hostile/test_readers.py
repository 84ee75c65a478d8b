"""Every reader against files that no program would write: random bytes, and good files cut, flipped and patched.

Property: a file is read to as many rows as a plain parse of it has, where there is one, or refused with one InputError of
one line. No other exception, nothing endless, little memory. A few dozen examples by default; `make fuzz` (or
`pytest -m fuzz --fuzz 5000 tests/hostile`) runs long.
"""

import csv
import gzip
import io
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from arena_data.containers.limits import Limits
from arena_data.errors import InputError
from arena_data.reading.builder import _table
from arena_data.reading.families import WANTED
from arena_data.reading.files import read_blocks
from arena_data.reading.formats import BlockReader
from arena_data.submission import read_submission
from tests.helpers.small_tables import BATTLES, PLAIN, csv_text

LIMITS = Limits(cell=1 << 16, row=1 << 18, columns=100, header=1 << 14, document=1 << 20, expansion_from=1 << 20)
SECONDS = 10.0
VOTES = [{"winner_model_a": "1", "winner_model_b": "0", "winner_tie": "0"}] * 3
KAGGLE = [row | vote for row, vote in zip(BATTLES, VOTES, strict=True)]
TALK = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]
HUB = [{"question_id": "q", "conversation_a": TALK, "conversation_b": TALK, "winner": "tie", "judge": "x"}]
CHOSEN = [{"id": "1", "prompt": "p", "chosen": "good", "rejected": "bad", "tie": False, "context": TALK}]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


TABLES = [KAGGLE, PLAIN, HUB, CHOSEN, BATTLES]
WRITERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    ".csv": lambda rows: csv_text(rows).encode(),
    ".tsv": lambda rows: csv_text(rows, delimiter="\t").encode(),
    ".json": lambda rows: json.dumps(rows).encode(),
    ".jsonl": lines,
    ".parquet": parquet,
}
PRESSED: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd}
TOKENS = [b",", b";", b"\t", b"|", b'"', b"'", b"\\", b'\\"', b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"[", b"]"]
TOKENS += [b"{", b"}", b"null", b"NaN", b"1e400", b"id", b"prompt", b"array([", b"sep=;\n", b"\xff\xfe", b"9" * 30]
TOKENS += [b"\\ud83d", b"None", b"tie", b"--", b"PAR1", b"True"]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """A file's ending, its bytes, and how many places of them were changed; compressed before or after the change."""
    kind, pressed = draw(st.sampled_from(sorted(WRITERS))), draw(st.sampled_from(sorted(PRESSED)))
    data = WRITERS[kind](draw(st.sampled_from(TABLES)))
    late = draw(st.booleans())
    if late:
        data = PRESSED[pressed](data)
    changes = draw(st.integers(0, 2))
    for _ in range(changes):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        action = draw(st.sampled_from(["cut", "flip", "insert", "delete", "repeat", "swap"]))
        if action == "cut":
            data = data[:place]
        elif action == "flip" and data:
            data = data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
        elif action == "insert":
            data = data[:place] + draw(st.sampled_from(TOKENS)) + data[place:]
        elif action == "delete":
            data = data[:place] + data[place + draw(st.integers(1, 20)) :]
        elif action == "repeat":  # Columns and rows come twice.
            data = data[:place] + data[max(0, place - draw(st.integers(1, 60))) : place] + data[place:]
        else:
            old, new = draw(st.sampled_from(TOKENS[:8])), draw(st.sampled_from(TOKENS[:8]))
            data = data.replace(old, new)
    return kind + pressed, data if late else PRESSED[pressed](data), changes


RANDOM = st.tuples(
    st.sampled_from(sorted(kind + pressed for kind in WRITERS for pressed in PRESSED)),
    st.binary(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join),
)


def rows_read(file: Path, labels: Any) -> int | None:
    """How many rows our readers give, with the table they become checked; None where the file is refused in one line."""
    start = time.monotonic()
    try:
        reader = BlockReader(str(file), labels, limits=LIMITS)
        rows = 0
        for block in read_blocks(str(file), WANTED, LIMITS):
            segments, others = reader.read(block)
            others["id"] = [str(row) for row in range(rows, rows + len(block))]
            table = _table(segments, others)
            assert table.num_rows == len(block)
            rows += table.num_rows
        return rows
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and str(file.name) in str(error) and len(str(error)) < 3000, error
        return None
    finally:
        assert time.monotonic() - start < SECONDS


def reference_rows(ending: str, data: bytes) -> int | None:
    """The rows of a plain parse of the file; None where there is none."""
    try:
        if ending == ".parquet":
            return pq.read_table(io.BytesIO(data)).num_rows
        text = data.decode()
        if ending == ".jsonl":
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
            return len(rows) if len(rows) > 1 and all(isinstance(row, dict) for row in rows) else None
        if ending == ".json":
            document = json.loads(text)
            return len(document) if isinstance(document, list) else None
        if ending == ".csv" and not text.startswith("sep=") and "\r" not in text and "\0" not in text:
            records = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
            return len(records) - 1 if {len(row) for row in records} == {len(records[0])} else None
    except Exception:  # whatever a plain parser says to bytes like these
        return None
    return None


def examples(config: pytest.Config, short: int) -> int:
    return max(short, int(config.getoption("--fuzz", default=0) or 0))


def check(ending: str, data: bytes, folder: Path) -> str:
    file = folder / f"f{ending}"
    file.write_bytes(data)
    outcomes = {labels: rows_read(file, labels) for labels in ("optional", "required")}
    rows = outcomes["optional"]
    assert outcomes["required"] in (None, rows)
    expected = reference_rows(ending, data)
    if rows is not None and expected is not None:
        assert rows == expected, (rows, expected)
    return "read" if rows is not None else "refused"


def run(strategy: Any, body: Callable[[Any], None], count: int) -> None:
    """Runs a property on so many examples; a failure is shrunk and shown."""
    phases = (Phase.generate, Phase.shrink)
    checks = list(HealthCheck)
    settings(max_examples=count, deadline=None, suppress_health_check=checks, phases=phases, database=None)(
        given(strategy)(body)
    )()


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(strategy: Any, folder: Path, count: int) -> dict[str, int]:
    outcomes = {"read": 0, "refused": 0}
    before = peak_bytes()

    def body(example: Any) -> None:
        outcomes[check(example[0], example[1], folder)] += 1

    run(strategy, body, count)
    assert peak_bytes() - before < 1 << 30
    return outcomes


def test_mutated_files(tmp_path: Path) -> None:
    outcomes = fuzz(mutated(), tmp_path, 60)
    assert outcomes["read"] and outcomes["refused"]  # Mutations that are all refused would test nothing.


def test_random_bytes(tmp_path: Path) -> None:
    assert fuzz(RANDOM, tmp_path, 60)["refused"]


def test_submissions(tmp_path: Path) -> None:
    fuzz_submissions(tmp_path, 60)


def fuzz_submissions(folder: Path, count: int) -> None:
    header = b"id,winner_model_a,winner_model_b,winner_tie\n"
    pieces = st.lists(st.sampled_from([*TOKENS, b"1,0.3,0.3,0.4\n", b"2,0.33,0.33,0.33\n"]), max_size=12)
    file = folder / "s.csv"

    def body(parts: list[bytes]) -> None:
        file.write_bytes(header + b"".join(parts))
        try:
            ids, shares = read_submission(file)
        except InputError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert shares.shape == (len(ids), 3) and len(set(ids)) == len(ids)

    run(pieces, body, count)


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
def test_at_length(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    count = examples(pytestconfig, 500)
    for name, strategy in (("mutated", mutated()), ("random", RANDOM)):
        print(name, fuzz(strategy, tmp_path, count))
    fuzz_submissions(tmp_path, count)
