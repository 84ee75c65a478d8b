"""How fast, and in how much memory, a competition's file becomes battles: `python -m benchmarks.speed.reading`.

Makes a train.csv of 57,477 rows (../shared/data/arena/train.csv, or the sample where that is absent, repeated with new
ids) and compares, each in a process of its own and in turns:

- ours: file to a cached Arrow dataset of battles, verdicts, groups and oddities included;
- ours without content hashes: the same, but files are told apart by name, size and time, as `datasets` does;
- peer: `pandas.read_csv` and `json.loads` on the three text columns, which is where public notebooks begin.

Then style features for all of them. Prints medians, ratios and peak memory against the file's size.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

ROWS = 57_477
REPOSITORY = Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared" / "data" / "arena" / "train.csv"

# Each runs alone and prints seconds and peak bytes. A small file comes first, so that lazy imports are paid by neither.
# The kernel's own high-water mark: `ru_maxrss` of a child begins with its parent's.
PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
"""
OURS = """
import json, sys, tempfile, time
from arena_data.loading import load_battles
small, big, cache = sys.argv[1:]
load_battles(small, cache_dir=cache)
start = time.perf_counter()
battles = load_battles(big, labels="required", cache_dir=cache)
seconds = time.perf_counter() - start
print(json.dumps([seconds, peak(), len(battles)]))
"""
UNHASHED = OURS.replace("small, big", "import arena_data.loading\narena_data.loading.content_hash = str\nsmall, big", 1)
PEER = """
import json, sys, time
import pandas as pd
def read(path):
    frame = pd.read_csv(path)
    for column in ("prompt", "response_a", "response_b"):
        frame[column] = frame[column].map(json.loads)
    return frame
small, big, _ = sys.argv[1:]
read(small)
start = time.perf_counter()
frame = read(big)
seconds = time.perf_counter() - start
print(json.dumps([seconds, peak(), len(frame)]))
"""
STYLE = """
import json, sys, time
from arena_data.loading import load_battles
from arena_data.style.features import style_arrays
_, big, cache = sys.argv[1:]
battles = load_battles(big, cache_dir=cache)
start = time.perf_counter()
style_arrays(battles, num_proc=2, progress=False)
print(json.dumps([time.perf_counter() - start, peak(), len(battles)]))
"""


def make_file(path: Path, rows: int) -> Path:
    """A Kaggle train.csv of `rows` rows; returns the file whose rows were repeated."""
    source = REAL if REAL.exists() else REPOSITORY / "arena_data" / "sample.csv"
    frame = pd.read_csv(source)
    frame = pd.concat([frame] * (rows // len(frame) + 1)).head(rows)
    frame["id"] = range(10**10, 10**10 + rows)
    frame.to_csv(path, index=False)
    return source


def measure(program: str, *arguments: object) -> tuple[float, float, int]:
    command = [sys.executable, "-c", PEAK + program, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    seconds, peak, rows = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "train.csv"
        source = make_file(big, arguments.rows)
        size = big.stat().st_size
        print(
            f"{arguments.rows:,} rows of {source.name}, {size / 1e6:.0f} MB; medians of {arguments.repeats}, in turns"
        )
        ours: list[tuple[float, float, int]] = []
        unhashed: list[tuple[float, float, int]] = []
        peer: list[tuple[float, float, int]] = []
        for turn in range(arguments.repeats):
            cache = Path(folder) / f"cache-{turn}"
            # The later of two finds the file in memory: they take turns at being first.
            pair = [(ours, OURS, cache), (unhashed, UNHASHED, Path(folder) / f"unhashed-{turn}")]
            for runs, program, kept in pair if turn % 2 else pair[::-1]:
                runs.append(measure(program, source, big, kept))
            peer.append(measure(PEER, source, big, cache))
        for name, runs in (
            ("battles, cached in Arrow", ours),
            ("… without content hashes", unhashed),
            ("pandas.read_csv + json.loads", peer),
        ):
            seconds = [run[0] for run in runs]
            peak = max(run[1] for run in runs)
            low, high = min(seconds), max(seconds)
            print(
                f"{name:30} {statistics.median(seconds):6.2f} s ({low:.2f} to {high:.2f})  peak {peak / size:.2f} x the file"
            )
        ratios = [a[0] / b[0] for a, b in zip(ours, peer, strict=True)]
        print(f"time ratio {statistics.median(ratios):.2f} (wanted: under 1)")
        hashing = [a[0] / b[0] for a, b in zip(ours, unhashed, strict=True)]
        low, high = min(hashing), max(hashing)
        print(f"with content hashes to without {statistics.median(hashing):.2f} ({low:.2f} to {high:.2f}; wanted: 1)")
        print(f"peak memory ratio {max(run[1] for run in ours) / size:.2f} x the file's size (wanted: under 1.5)")
        style_seconds, _, rows = measure(STYLE, source, big, Path(folder) / "cache-0")
        print(f"style features of {rows:,} battles, 2 processes: {style_seconds:.1f} s (wanted: under 60)")


if __name__ == "__main__":
    main()
