"""predict.py as a person gives the command, and its files."""

import csv
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "arena_data" / "sample.csv"


def flags(run: Path, input_file: Path, output: Path, *more: str) -> list[str]:
    names = ["--model", str(run), "--input", str(input_file), "--output", str(output)]
    return [*names, "--dtype", "float32", "--device", "cpu", "--quiet", *more]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "predict.py"), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_csv(file: Path, rows: list[list[str]], columns: Any = ("id", "prompt", "response_a", "response_b")) -> Path:
    with open(file, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return file
