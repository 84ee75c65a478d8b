"""Every way of training that is named, run: `python -m benchmarks.scale [--model_name_or_path models/smollm2_135m]`.

Each cell of encoding x (full, LoRA, QLoRA) x (single, DDP, ZeRO 1, 2, 3, FSDP2) is `accelerate launch train_reward.py` on
two CPU processes (one for `single`), as a person starts it. A whole epoch is one optimizer step, so that any number of
processes takes the same steps; a cell passes where

- the loss of every step and the held-out log loss of every epoch are those of one process, within a tolerance,
- the weights of the last step and of the artefact are, too, and the figures in metrics.json,
- started again from its second checkpoint it ends with the weights of the run that nothing interrupted, bit for bit,
- `predict.py`, one process, gives the same probabilities for both runs' artefacts.

What is refused is shown with its message. Nothing here needs a GPU; FSDP2 does, and is refused without one. Prints the
table of docs/scale.md. Without --model_name_or_path a tiny Llama with random weights is trained: 66 launches and 30
predictions, about 30 minutes on two quiet cores.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reward_model.tokens.encodings import ENCODINGS
from tests.helpers.tiny_models import write_backbone

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "arena_data" / "sample.csv"
ENGINES = ("single", "ddp", "zero1", "zero2", "zero3", "fsdp2")
METHODS: dict[str, list[str]] = {
    "full": [],
    "lora": ["--use_peft", "--lora_r", "4"],
    "qlora": [
        *("--use_peft", "--lora_r", "4", "--load_in_4bit", "--use_bnb_nested_quant"),
        *("--bf16", "true", "--dtype", "bfloat16"),
    ],
}
# Largest difference from one process: of losses, and of weights. bf16 keeps 8 bits, and LoRA is bf16 on a quantised model.
TOLERANCE = {"full": (1e-5, 1e-4), "lora": (1e-5, 1e-4), "qlora": (2e-2, 1e-2)}
FLAGS = [
    *("--train_file", str(SAMPLE), "--max_train_battles", "60", "--max_length", "300", "--batch_tokens", "1000"),
    # More accumulation than an epoch has batches: a step is an epoch, on any number of processes.
    *("--gradient_accumulation_steps", "64", "--num_train_epochs", "4", "--learning_rate", "1e-3"),
    *("--validation_share", "0.2", "--calibration_share", "0.2", "--logging_steps", "1", "--save_total_limit", "10"),
    *("--use_cpu", "true", "--disable_tqdm", "true"),
]


def launcher(engine: str, *more: str) -> list[str]:
    """The launching half of the command line: two processes, or one for `single`."""
    common = ["--num_machines", "1", "--dynamo_backend", "no", "--main_process_port", "0", *more]
    half = {
        "single": ["--num_processes", "1", "--mixed_precision", "no"],
        "ddp": ["--multi_gpu", "--num_processes", "2", "--mixed_precision", "no"],
        "fsdp2": ["--config_file", str(ROOT / "ds_configs" / "fsdp2.yaml"), "--num_processes", "2"],
    }.get(engine)
    if half is None:
        config = str(ROOT / "ds_configs" / f"{engine}.json")
        half = ["--use_deepspeed", "--num_processes", "2", "--mixed_precision", "no", "--deepspeed_config_file", config]
    return [str(Path(sys.executable).with_name("accelerate")), "launch", *half, *common]


def environment() -> dict[str, str]:
    """One thread a process, and DeepSpeed told that the CPU is meant."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)}


def launch(engine: str, output: Path, *flags: str, timeout: float = 900) -> "subprocess.CompletedProcess[str]":
    """Trains with FLAGS and more; returns what the launcher returned."""
    command = [*launcher(engine), str(ROOT / "train_reward.py"), "--output_dir", str(output), *FLAGS, *flags]
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT
    )


@dataclass(frozen=True)
class Run:
    """What a finished run left: its loss a step, held-out log loss an epoch, weights and figures."""

    losses: np.ndarray
    held_out: np.ndarray
    weights: dict[str, np.ndarray]
    metrics: dict[str, float]


def weights(folder: Path, prefix: str) -> dict[str, np.ndarray]:
    """An adapter's or a model's, by name, float32."""
    from safetensors.torch import load_file

    names = [folder / f"{name}.safetensors" for name in ("adapter_model", "model")]
    [file] = [name for name in names if name.exists()]
    return {f"{prefix}{name}": tensor.float().numpy() for name, tensor in load_file(file).items()}


def read(output: Path) -> Run:
    """Reads a run directory that still has its checkpoints."""
    last = max(output.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    history = json.loads((last / "trainer_state.json").read_text("utf-8"))["log_history"]
    return Run(
        losses=np.array([entry["loss"] for entry in history if "loss" in entry]),
        held_out=np.array([entry["eval_log_loss"] for entry in history if "eval_log_loss" in entry]),
        weights=weights(last, "last ") | weights(output, "final "),
        metrics=json.loads((output / "metrics.json").read_text("utf-8")),
    )


def differences(one: Run, other: Run) -> tuple[float, float]:
    """The largest difference of any loss or figure, and of any weight."""
    figures = ("log_loss", "brier_score", "tie_rate_predicted")
    losses = [np.abs(one.losses - other.losses).max(), np.abs(one.held_out - other.held_out).max()]
    losses += [abs(one.metrics[name] - other.metrics[name]) for name in figures]
    if one.weights.keys() != other.weights.keys():
        raise ValueError(f"other parameters were saved: {sorted(one.weights.keys() ^ other.weights.keys())}")
    return float(max(losses)), max(float(np.abs(one.weights[name] - other.weights[name]).max()) for name in one.weights)


def interrupted(output: Path, copy: Path) -> Path:
    """A copy of a run as it would lie there, had it been stopped after its second checkpoint."""
    shutil.copytree(output, copy)
    for path in copy.iterdir():
        if path.name in ("checkpoint-3", "checkpoint-4"):
            shutil.rmtree(path)
        elif path.is_file() and path.name != "run_settings.json":
            path.unlink()
    return copy


def write_battles(file: Path) -> None:
    """The sample's first 24 battles."""
    with open(SAMPLE, encoding="utf-8", newline="") as source, open(file, "w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows(list(csv.reader(source))[:25])


def predicted(output: Path, *flags: str) -> np.ndarray:
    """float [battles, 3]: what predict.py makes of the sample's first battles, in one process."""
    head = output / "battles.csv"
    write_battles(head)
    submission = output / "submission.csv"
    if submission.exists():
        return read_submission(submission)
    command = [sys.executable, str(ROOT / "predict.py"), "--model", str(output), "--input", str(head), "--quiet"]
    command += ["--output", str(submission), "--dtype", "float32", "--device", "cpu", *flags]
    subprocess.run(command, env=environment(), check=True, capture_output=True, cwd=ROOT)
    return read_submission(submission)


def read_submission(submission: Path) -> np.ndarray:
    """float [battles, 3]."""
    with open(submission, encoding="utf-8", newline="") as file:
        return np.array([[float(value) for value in row[1:]] for row in list(csv.reader(file))[1:]])


def message(done: "subprocess.CompletedProcess[str]") -> str:
    """The line in which a run was refused, or the error that it ended in."""
    lines = [line.strip() for line in done.stderr.splitlines() if "Error: " in line or line.startswith("error:")]
    return next((line for line in lines if line.startswith("error:")), lines[0] if lines else "no message")


def cell(engine: str, method: str, flags: list[str], folder: Path, single: Run | None, resume: bool) -> str:
    """Runs one cell and says what came of it."""
    output = folder / f"{flags[1]}-{method}-{engine}"
    done = launch(engine, output, *flags, *METHODS[method])
    if done.returncode:
        return f"{message(done)}"
    run = read(output)
    said = []
    if single is not None:
        found, allowed = differences(single, run), TOLERANCE[method]
        verdict = "" if found[0] <= allowed[0] and found[1] <= allowed[1] else " DIFFERS"
        said.append(f"losses {found[0]:.0e}, weights {found[1]:.0e}{verdict}")
        one = folder / f"{flags[1]}-{method}-single"
        said.append(f"probabilities {np.abs(predicted(one) - predicted(output)).max():.0e}")
    if resume:
        copy = interrupted(output, output.with_name(f"{output.name}-again"))
        again = launch(engine, copy, *flags, *METHODS[method])
        exact = again.returncode == 0 and differences(run, read(copy))[1] == 0
        said.append("resumes bit for bit" if exact else f"RESUMES OTHERWISE: {message(again)}")
    return "; ".join(said) or "run"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--encodings", nargs="+", default=list(ENCODINGS), choices=list(ENCODINGS))
    parser.add_argument("--no_resume", action="store_true", help="leave the second launch of each cell out")
    parser.add_argument("--output_dir", type=Path, help="keep the runs here")
    options = parser.parse_args()
    engines = ["single", *(name for name in options.engines if name != "single")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output_dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        backbone = options.model_name_or_path or str(write_backbone(folder / "backbone"))
        print("| encoding, method | " + " | ".join(engines) + " |")
        print("| --- " * (len(engines) + 1) + "|")
        for encoding in options.encodings:
            for method in options.methods:
                flags = ["--encoding", encoding, "--model_name_or_path", backbone]
                row, single = [], None
                for engine in engines:
                    row.append(cell(engine, method, flags, folder, single, not options.no_resume))
                    print(f"{encoding} {method} {engine}: {row[-1]}", file=sys.stderr, flush=True)
                    if engine == "single":
                        single = read(folder / f"{encoding}-{method}-single")
                print(f"| {encoding}, {method} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
