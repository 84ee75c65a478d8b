"""Is the project right, fast, and within its plan on this GPU? `python -m benchmarks.gpu --limit 8m --output check.json`.

Models have real shapes and random weights, made on the device; nothing is downloaded. Results are printed as they come,
written as JSON after each row, and printed as tables for docs/LOG.md in the end. A section that would not end within the
limit is skipped and named. What each finding of docs/gpu.md still needs a GPU for is among the sections.

    --tiny      tiny models, to test this program's logic on a CPU: its figures mean nothing
    --layers    fewer layers of the large models, where memory or time is short

Exit status: 0, 1 if a section failed or found what must not be, 2 for bad flags.
"""

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # read when PyTorch is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from benchmarks.gpu import attention, device, equality, prediction, training
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.engines import engines
from benchmarks.gpu.results import Results
from reward_model.cli.flags import duration
from reward_model.errors import one_line
from reward_model.model.device import compute_on, default_device


@dataclass(frozen=True)
class Section:
    """A part of the check, and the seconds that it is expected to take on an H100."""

    work: Callable[[Bench], None]
    seconds: float


# The most telling first: what comes last is skipped first.
SECTIONS = {
    "equality": Section(equality.equality, 60),
    "fallbacks": Section(equality.fallbacks, 10),
    "plans": Section(attention.plans, 15),
    "pieces": Section(attention.pieces, 15),
    "prediction_llama8b": Section(functools.partial(prediction.prediction, name="llama8b"), 35),
    "training_llama8b": Section(functools.partial(training.training, name="llama8b"), 50),
    "prediction_gemma9b": Section(functools.partial(prediction.prediction, name="gemma9b"), 45),
    "training_gemma9b": Section(functools.partial(training.training, name="gemma9b"), 60),
    "quantised": Section(training.quantised, 60),
    "memory": Section(training.memory, 60),
    "engines": Section(engines, 60),
    "out_of_memory": Section(prediction.out_of_memory, 15),
}


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--tiny", action="store_true", help="tiny models; on a CPU where there is no GPU")
    flags.add_argument(
        "--sections", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="S", help="which"
    )
    flags.add_argument("--limit", type=duration, default=480.0, metavar="T", help="no section ends later (default: 8m)")
    flags.add_argument("--layers", type=int, metavar="N", help="layers of the large models, at most")
    flags.add_argument("--output", type=Path, default=Path("check.json"), metavar="F", help="the results as JSON")
    return flags


def run(bench: Bench, names: Sequence[str], limit: float, clock: Callable[[], float] = time.monotonic) -> None:
    """Runs sections in turn. One that fails is written down, and the next goes on; one without time left is skipped."""
    ends = clock() + limit
    for name in names:
        started = clock()
        expected = 0.0 if bench.tiny else SECTIONS[name].seconds
        if expected > ends - started or started >= ends:
            bench.results.skipped[name] = f"{max(0.0, ends - started):.0f} s left, {expected:.0f} s needed"
            continue
        try:
            SECTIONS[name].work(bench)
        except Exception as error:  # whatever it is, other sections still tell something
            bench.results.errors[name] = f"{type(error).__name__}: {one_line(error)}"
        device.forget_peak()
        bench.results.seconds[name] = clock() - started
    bench.results.write()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the check. Returns the exit status."""
    flags = parser().parse_args(arguments)
    where = default_device()
    if where.type == "cpu" and not flags.tiny:
        print("error: no GPU was found; --tiny tests the logic on a CPU", file=sys.stderr)
        return 2
    results = Results(flags.output, device.environment(where))
    bench = Bench(results, where, flags.tiny, flags.layers, device.peak_tflops(where))
    compute_on(where)
    bench.matmul_tflops = device.matmul_tflops(where, 256 if flags.tiny else 8192)
    results.environment["matmul_tflops"] = bench.matmul_tflops
    run(bench, flags.sections, flags.limit)
    print(f"\n{results.markdown()}")
    failures = results.failures()
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    torch.manual_seed(0)
    sys.exit(main())
