"""The planner against measured runs: `python -m benchmarks.scale.planning`.

Each run is a process of its own (`benchmarks.speed.training --one ours`): one epoch on one CPU process, on battles that fill
max_length, as the planner takes every row to do. Memory is peak resident memory against the planner's total. For time the
planner needs an MFU: each run's time is foretold with the MFU of the run before it in the list, never with its own. Printed
are both, measured over planned; within 15 % is what is wanted.
About 10 minutes on two quiet cores.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.speed.reading import REAL, REPOSITORY

PEAK_TFLOPS = 0.19


@dataclass(frozen=True)
class Case:
    """A run: the model's directory, max_length, tokens a batch, LoRA or full."""

    model: str
    max_length: int
    batch_tokens: int
    lora: bool

    @property
    def name(self) -> str:
        kind = "LoRA r 16" if self.lora else "full"
        return f"{self.model.rpartition('/')[2]} {kind}, {self.batch_tokens:,} tokens at {self.max_length}"


CASES = (
    Case("models/minilm", 256, 4096, lora=False),
    Case("models/minilm", 256, 8192, lora=False),
    Case("models/smollm2_135m", 256, 1024, lora=True),
    Case("models/smollm2_135m", 256, 2048, lora=True),
    Case("models/smollm2_135m", 256, 1024, lora=False),
    Case("models/smollm2_135m", 256, 2048, lora=False),
)


def measured(case: Case, battles: int, train_file: str) -> dict[str, float]:
    """What `benchmarks.speed.training` saw: tokens a second, peak memory in MB."""
    command = [sys.executable, "-m", "benchmarks.speed.training", "--one", "ours", "--model_name_or_path", case.model]
    command += ["--max_length", str(case.max_length), "--batch_tokens", str(case.batch_tokens)]
    command += [
        "--battles",
        str(battles),
        "--full_rows",
        "--train_file",
        train_file,
        *(["--use_peft"] if case.lora else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{case.name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def planned(case: Case) -> tuple[float, float]:
    """(MB of memory, FLOPs a token) by the planner."""
    from reward_model.plan import plan as planning

    flags = ["--model_name_or_path", case.model, "--max_length", str(case.max_length), "--device", "cpu"]
    flags += ["--batch_tokens", str(case.batch_tokens), "--engine", "single"]
    if case.lora:
        flags += ["--use_peft", "true", "--lora_r", "16", "--lora_task_type", "SEQ_CLS"]
    settings = planning.parse(flags)
    found = planning.plan(settings)
    return found.engines[0].total / 1e6, found.counted.flops_per_token(case.max_length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--battles", type=int, default=48)
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))), help="places in the list")
    parser.add_argument(
        "--train_file", default=str(REAL if REAL.exists() else REPOSITORY / "arena_data" / "sample.csv")
    )
    options = parser.parse_args()
    print("| run | memory planned, MB | measured | ratio | tokens a second, foretold | measured | ratio | MFU |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    before: float | None = None
    for case in (CASES[place] for place in options.cases):
        memory, flops = planned(case)
        seen = measured(case, options.battles, options.train_file)
        speed = seen["tokens_per_second"]
        foretold = None if before is None else before * PEAK_TFLOPS * 1e12 / flops
        before = speed * flops / (PEAK_TFLOPS * 1e12)
        told = (
            "– | " + f"{speed:,.0f} | –"
            if foretold is None
            else f"{foretold:,.0f} | {speed:,.0f} | {speed / foretold:.2f}"
        )
        print(
            f"| {case.name} | {memory:,.0f} | {seen['memory_mb']:,.0f} | {seen['memory_mb'] / memory:.2f} | {told} |"
            f" {before:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
