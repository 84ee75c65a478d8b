"""DeepSpeed's ZeRO 1 and 2 with one process, as `accelerate launch` starts them: the same losses as without an engine.

Each engine runs in a process of its own: `python -m benchmarks.gpu.engines`, which prints its figures as JSON.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.results import Results
from benchmarks.gpu.training import TrainingCase, tokens_of, train
from reward_model.model.device import default_device

ROOT = Path(__file__).parents[2]
ENGINES = ("none", "zero1", "zero2")
ALLOWED = 0.02  # of the loss: ZeRO trains half-precision copies
MARK = "figures: "


def command(engine: str, *more: str) -> list[str]:
    launcher = [str(Path(sys.executable).with_name("accelerate")), "launch", "--num_processes", "1"]
    launcher += ["--num_machines", "1", "--dynamo_backend", "no", "--mixed_precision", "no", "--main_process_port", "0"]
    if engine != "none":
        launcher += ["--use_deepspeed", "--deepspeed_config_file", str(ROOT / "ds_configs" / f"{engine}.json")]
    return [*launcher, "-m", "benchmarks.gpu.engines", *more]


def engines(bench: Bench) -> None:
    """Gemma 2, whose cap made packed reading fail under an engine that moves the model late, and a few layers of it."""
    flags = [
        "--device",
        bench.device.type,
        "--layers",
        str(min(bench.layers or 8, 8)),
        *(["--tiny"] if bench.tiny else []),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if bench.device.type == "cpu":
        environment |= {"DS_ACCELERATOR": "cpu"}
    losses: list[float] = []
    for engine in ENGINES:
        done = subprocess.run(
            command(engine, *flags), capture_output=True, text=True, env=environment, cwd=ROOT, check=False
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
        if done.returncode or not lines:
            bench.results.add("engines", engine=engine, error=done.stderr.strip().splitlines()[-1:], ok=False)
            continue
        row: dict[str, Any] = json.loads(lines[0].removeprefix(MARK))
        own = row.pop("losses")
        losses = losses or own
        off = max(abs(one - other) / abs(other) for one, other in zip(own, losses, strict=True))
        bench.results.add("engines", engine=engine, **row, loss_differs_by=off, ok=off <= ALLOWED and row["packed"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default=str(default_device()))
    parser.add_argument("--layers", type=int)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    bench = Bench(Results(), torch.device(options.device), options.tiny, options.layers)
    row = train(bench, TrainingCase("gemma9b", batch_tokens=tokens_of(bench, 4096), steps=3, dropout=0.0))
    print(MARK + json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
