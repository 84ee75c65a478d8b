"""Training that is killed: by a clock, or by its own hand before or after a call of a function.

Each training runs in a process of its own, forked from one that has imported everything and computed nothing: a start costs
no seconds of imports, and a kill is a real SIGKILL.
"""

import importlib
import json
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

FILES = ("adapter_model.safetensors", "calibration.json", "metrics.json", "held_out.csv")
SAMPLE = Path(__file__).parents[2] / "arena_data" / "sample.csv"


@dataclass(frozen=True)
class Moment:
    """A call of a function, by module, name and number from 1; killed `before` or `after` it."""

    module: str
    name: str
    call: int = 1
    when: str = "before"

    def __str__(self) -> str:
        return f"{self.when} call {self.call} of {self.name}"


def flags(backbone: Path, output: Path) -> list[str]:
    """A run with dropout, so that the state of the random numbers matters, and a checkpoint every three steps."""
    settings = (
        f"--model_name_or_path {backbone} --train_file {SAMPLE} --output_dir {output} --max_train_battles 40"
        " --max_length 160 --batch_tokens 640 --num_train_epochs 2 --learning_rate 1e-3 --use_cpu true --use_peft"
        " --lora_r 4 --lora_dropout 0.1 --disable_dropout false --validation_share 0.2 --calibration_share 0.2"
        " --save_strategy steps --save_steps 3 --eval_strategy steps --eval_steps 3 --disable_tqdm true"
    )
    return settings.split()


def train(arguments: list[str], moment: Moment | None, log: str) -> None:
    """In the forked process: trains, and exits with the command's status."""
    with open(log, "w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    if moment is not None:
        _die_at(moment)
    from reward_model.cli.train import main

    sys.exit(main(arguments))


def _die_at(moment: Moment) -> None:
    owner: Any = importlib.import_module(moment.module)
    *parts, name = moment.name.split(".")
    for part in parts:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == moment.call and moment.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if calls == moment.call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


class Trainings:
    """Starts trainings of one backbone."""

    def __init__(self, backbone: Path):
        self.backbone = backbone
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["reward_model.cli.train", "tests.helpers.killed_training"])

    def run(self, output: Path, *, moment: Moment | None = None, seconds: float | None = None) -> int:
        """The exit status, -9 for a kill. moment: to be killed at. seconds: after which it is killed."""
        arguments = flags(self.backbone, output)
        process = self._context.Process(target=train, args=(arguments, moment, f"{output}.log"))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
        assert process.exitcode is not None
        return process.exitcode


def contents(output: Path) -> dict[str, bytes]:
    """What a finished run is, byte for byte, and what its last step left: the best step may be an early one."""
    last = max(output.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    read = {name: (output / name).read_bytes() for name in FILES}
    read |= {f"{last.name}/{name}": (last / name).read_bytes() for name in (FILES[0], "scheduler.pt", "rng_state.pth")}
    # safetensors writes the entries of its metadata in any order.
    read |= {name: array.tobytes() for name, array in load_file(output / "style_head.safetensors").items()}
    history = json.loads((last / "trainer_state.json").read_text())["log_history"]
    losses = [(entry["step"], entry.get("loss"), entry.get("eval_loss")) for entry in history]
    return read | {"losses": json.dumps(losses).encode()}
