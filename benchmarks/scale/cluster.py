"""`predict --engine ray` against `predict`, on the same machine and battles, in turns:
`python -m benchmarks.scale.cluster --input train.csv --rows 300000 --model arena-style`.

Battles are those of the input, again and again, each with a number in its prompt and in both responses: so every id is new,
and no text is scored twice. They lie in Parquet files of 10,000. Each system is a process of its own; its time is from its
start to its end, with reading and writing. Memory is that of all its processes together, each second, pages that several
share counted once (PSS). CPU seconds are theirs too, and tell more where other work shares the machine.
With `--kill` a process that holds the models is killed once half of the partitions are there.

Printed: battles a second, CPU seconds, peak memory, ids missing or doubled, the largest difference of a probability.
`--picture F` draws memory over time of all runs that `--results` holds.
"""

import argparse
import contextlib
import json
import math
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet

from arena_data.loading import load_battles
from arena_data.submission import COLUMNS, read_submission

FILE_ROWS = 10_000
SYSTEMS = ("ray", "local")
TEXTS = ("prompt", "response_a", "response_b")


@dataclass
class Run:
    """What was measured of one command.

    Args:
        cpu: CPU seconds of all its processes.
        memory: (seconds since its start, bytes of all its processes).
    """

    system: str
    model: str
    rows: int
    seconds: float = 0.0
    cpu: float = 0.0
    killed: bool = False
    memory: list[tuple[float, int]] = field(default_factory=list)

    @property
    def peak(self) -> int:
        return max((size for _, size in self.memory), default=0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", help="battles to repeat")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000], help="sizes, each measured")
    parser.add_argument("--model", default="arena-style")
    parser.add_argument("--max_length", type=int, help="of a run")
    parser.add_argument("--backbone", help="directory of a backbone that --model is made of, with a head made up")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--kill", action="store_true", help="kill an actor on the way, at the largest size")
    parser.add_argument("--partition_rows", default="2048")
    parser.add_argument("--folder", type=Path, default=Path("runs/cluster_benchmark"), help="for battles and results")
    parser.add_argument("--results", type=Path, default=Path("runs/cluster_benchmark/results.jsonl"))
    parser.add_argument("--picture", type=Path, help="draw --results and do nothing else")
    options = parser.parse_args(arguments)
    if options.picture:
        draw(read_results(options.results), options.picture)
        return 0
    if options.backbone:
        from benchmarks.speed.prediction_systems import make_run

        made = argparse.Namespace(model=options.backbone, max_length=options.max_length, output_dir=options.model)
        make_run(made)
    battles = load_battles(options.input)
    for rows in options.rows:
        source = options.folder / f"battles-{rows}"
        write_battles(battles, rows, source)
        outputs = {}
        for system in options.systems:
            output = options.folder / f"{system}-{Path(options.model).name}-{rows}-{time.time_ns()}"
            kill = options.kill and system == "ray" and rows == max(options.rows)
            done = run(system, options, rows, source, output, kill)
            outputs[system] = output
            options.results.parent.mkdir(parents=True, exist_ok=True)
            with options.results.open("a") as stream:
                stream.write(json.dumps(asdict(done)) + "\n")
            print(line(done), flush=True)
        if set(outputs) == set(SYSTEMS):
            print(compare(outputs["ray"], outputs["local"]), flush=True)
    return 0


def repeated(battles: Any, start: int, rows: int) -> Iterator[dict[str, Any]]:
    """Battles number `start` and on, as rows of a file: those of the input in turn, each with its number in its texts."""
    for number in range(start, start + rows):
        battle = battles[number % len(battles)]
        turns = {name: [f"{turn or ''} [{number}]" for turn in battle[name]] for name in TEXTS}
        yield {"id": f"{battle['id']}-{number}", **turns}


def write_battles(battles: Any, rows: int, folder: Path) -> None:
    """Parquet files of `FILE_ROWS` battles; a folder that is whole already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = battles.with_format(None).to_list()
    for file in range(math.ceil(rows / FILE_ROWS)):
        path = folder / f"{file:05d}.parquet"
        if not path.exists():
            start = file * FILE_ROWS
            table = pa.Table.from_pylist(list(repeated(kept, start, min(FILE_ROWS, rows - start))))
            pa.parquet.write_table(table, path.with_suffix(".part"), compression="zstd")
            path.with_suffix(".part").rename(path)


def run(system: str, options: argparse.Namespace, rows: int, source: Path, output: Path, kill: bool) -> Run:
    """One command, watched until it ends."""
    command = [sys.executable, "predict.py", "--model", options.model, "--quiet", "--device", "cpu", "--offline"]
    command += ["--max_length", str(options.max_length)] if options.max_length else []
    if system == "ray":
        flags = ["--engine", "ray", "--partition_rows", options.partition_rows, "--input", str(source)]
        command += [*flags, "--output", str(output)]
    else:
        # What counts is faster with one process, which starts helpers; what reads takes one process a core.
        processes = [] if options.max_length is None else ["--num_processes", str(psutil.cpu_count())]
        command += ["--input", f"{source}/*.parquet", "--output", f"{output}.csv", *processes]
    done = Run(system, options.model, rows)
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watcher = threading.Thread(target=watch, args=(process.pid, started, done), daemon=True)
    watcher.start()
    if kill:
        done.killed = kill_one(process, output, math.ceil(rows / int(options.partition_rows)) // 2)
    status = process.wait()
    done.seconds = time.monotonic() - started
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    return done


def watch(pid: int, started: float, done: Run) -> None:
    """Notes once a second what a process and all that it started hold in memory and have used of the CPU, until it ends."""
    cpu: dict[int, float] = {}
    while (size := memory_of(pid)) > 0:
        done.memory.append((round(time.monotonic() - started, 1), size))
        for one in family(pid):
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                cpu[one.pid] = times.user + times.system
        done.cpu = round(sum(cpu.values()), 1)
        time.sleep(1)


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants; none where it is gone."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def memory_of(pid: int) -> int:
    """Bytes in memory of a process and its descendants, shared pages counted once; 0 where it is gone."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(psutil.Error):
            total += one.memory_full_info().pss
    return total


def kill_one(process: "subprocess.Popen[bytes]", output: Path, partitions: int) -> bool:
    """Kills a process that holds the models once so many partitions are there; False where all ended before."""
    while process.poll() is None:
        parts = output / "parts"
        if sum(1 for _ in parts.rglob("*.parquet")) >= partitions:
            actors = [one for one in family(process.pid) if "PartitionScorer" in " ".join(one.cmdline())]
            if actors:
                actors[0].kill()
                return True
        time.sleep(0.2)
    return False


def line(done: Run) -> str:
    killed = ", one actor killed" if done.killed else ""
    speed = f"{done.rows / done.seconds:,.0f} battles a second, {done.cpu:,.1f} CPU seconds"
    return (
        f"{done.system}: {done.rows:,} battles in {done.seconds:.1f} s{killed}, {speed}, {done.peak / 2**20:,.0f} MiB"
    )


def compare(scored: Path, plain: Path) -> str:
    """Both results, id by id: what is missing or doubled, and the largest difference of a probability."""
    table = pa.parquet.read_table(scored / "parts")
    names = table.column("id").to_pylist()
    values = np.stack([table.column(name).to_numpy() for name in COLUMNS], axis=1)
    ids, expected = read_submission(f"{plain}.csv")
    place = {name: row for row, name in enumerate(names)}
    doubled = sum(count - 1 for count in Counter(names).values())
    missing = len(set(ids) ^ set(place))
    shared = [row for row, name in enumerate(ids) if name in place]
    difference = np.abs(values[[place[ids[row]] for row in shared]] - expected[shared]).max() if shared else math.nan
    return f"{missing} ids missing, {doubled} doubled, largest difference {difference:.1e}"


def read_results(path: Path) -> list[Run]:
    return [Run(**json.loads(text)) for text in path.read_text().splitlines()]


def draw(runs: Sequence[Run], path: Path) -> None:
    """Memory over the share of each run's time that has passed, so that runs of two sizes lie over each other."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    colours = {"ray": "#0b6e99", "local": "#b5651d"}
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
    sizes = sorted({run.rows for run in runs})
    for run in runs:
        seconds, memory = zip(*run.memory, strict=True)
        name = "--engine ray" if run.system == "ray" else "without it"
        label = f"{name}, {run.rows:,} battles{', one actor killed' if run.killed else ''}"
        axes.plot(
            [second / run.seconds for second in seconds],
            [size / 2**30 for size in memory],
            color=colours[run.system],
            linestyle="-" if run.rows == sizes[-1] else ":",
            label=label,
        )
    axes.set(xlabel="share of the run's time", ylabel="GiB, all processes", xlim=(0, 1), ylim=(0, None))
    axes.set_title("Memory while battles are scored", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
