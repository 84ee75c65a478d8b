"""The cluster benchmark's parts: no text comes twice, memory is of all processes, doubled and missing ids are seen."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from arena_data.loading import load_battles
from arena_data.submission import COLUMNS, write_submission
from benchmarks.scale import cluster
from tests.helpers.made_battles import by_length


def test_no_id_and_no_text_comes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "FILE_ROWS", 30)
    cluster.write_battles(by_length(20, 1), 70, tmp_path)
    battles: Any = load_battles(str(tmp_path / "*.parquet"))
    assert len(battles) == 70 and len(list(tmp_path.iterdir())) == 3
    for name in ("id", *cluster.TEXTS):
        assert len(set(map(str, battles[name][:]))) == 70, name


def test_memory_is_that_of_a_process_and_what_it_started() -> None:
    grown = "x = bytearray(50_000_000); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grown!r}])"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        while cluster.memory_of(process.pid) < 50_000_000:  # the timeout of a test ends it otherwise
            assert process.poll() is None
    finally:
        process.communicate(b"\n")
    assert cluster.memory_of(process.pid) == 0 and cluster.memory_of(os.getpid()) > 0


def test_what_is_missing_doubled_or_different_is_said(tmp_path: Path) -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    write_submission(tmp_path / "plain.csv", ["a", "b"], probabilities)

    def partition(name: str, ids: list[str], rows: np.ndarray) -> None:
        (tmp_path / name / "parts").mkdir(parents=True)
        table = pa.table({"id": ids, **dict(zip(COLUMNS, rows.T, strict=True))})
        pa.parquet.write_table(table, tmp_path / name / "parts" / "0.parquet")

    partition("whole", ["b", "a"], probabilities[::-1])
    partition("wrong", ["a", "a"], probabilities[[1, 1]])
    assert cluster.compare(tmp_path / "whole", tmp_path / "plain").startswith("0 ids missing, 0 doubled, largest")
    assert (
        cluster.compare(tmp_path / "wrong", tmp_path / "plain")
        == "1 ids missing, 1 doubled, largest difference 3.0e-01"
    )


def test_the_picture_is_drawn_from_the_results(tmp_path: Path) -> None:
    memory = [(0.0, 2**30), (9.0, 2**30)]
    runs = [cluster.Run("ray", "m", rows, 10.0, killed=rows == 20, memory=memory) for rows in (10, 20)]
    cluster.draw([*runs, cluster.Run("local", "m", 20, 5.0, memory=[(0.0, 2**30)])], tmp_path / "memory.png")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
