"""The flags of `predict.py`, read before anything slow is imported and before any library may look for a network."""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_data.arguments import CommandParser, share, whole_number
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.errors import InputError

if TYPE_CHECKING:
    from reward_model.predict.member import MemberOptions
    from reward_model.predict.predictor import Predictor
    from reward_model.predict.task import PredictionTask

# What Transformers, PEFT, datasets and the Hub client need to stay off the network; they read it when imported.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass
class PredictionFlags:
    """What a prediction is made of; `parser` says what each means. All lists are as given, nothing is resolved.

    time_limit: seconds. coverage: percent.
    """

    model: list[str] = field(default_factory=list)
    weights: list[float] | None = None
    pooling: str = "logarithmic"
    input: list[str] = field(default_factory=list)
    output: str = "submission.csv"
    offline: bool = False
    base_model: list[str] | None = None
    batch_tokens: int | None = None
    max_length: int | None = None
    swap_average: float = 0.0
    style: str = "on"
    calibration: str = "auto"
    rewards: bool = False
    coverage: int | None = None
    coverage_labels: str | None = None
    dtype: str = "auto"
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    merge: bool = False
    attn_implementation: str | None = None
    device: str | None = None
    device_map: str | None = None
    num_processes: int | None = None
    time_limit: float | None = None
    quiet: bool = False
    report: str | None = None
    json: bool = False
    audit_battles: int = 500
    peers: list[str] | None = None
    read_limits: list[str] | None = None
    engine: str = "local"
    ray_address: str | None = None
    actors: int | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    partition_rows: int | None = None


def parse_flags(arguments: Sequence[str] | None = None) -> PredictionFlags:
    """Ends the process with status 2 and one line for flags that do not fit; applies `--offline` at once."""
    flags = parser().parse_args(arguments, namespace=PredictionFlags())
    if flags.offline:
        os.environ.update(OFFLINE)
    return flags


def task_of(flags: PredictionFlags, seconds: float | None = None, started: float | None = None) -> "PredictionTask":
    """The flags as plain data, of which every process of the prediction gets a copy.

    Args:
        seconds: the time limit, from `started` on the monotonic clock.

    Raises: InputError or ModelError, one line, for flags that do not go together.
    """
    from reward_model.predict.member import MemberOptions
    from reward_model.predict.task import PredictionTask
    from reward_model.run_directory.load_model import LoadOptions

    bases: list[str | None] = [*flags.base_model] if flags.base_model else [None]
    if len(bases) == 1:
        bases *= len(flags.model)
    if len(bases) != len(flags.model):
        raise InputError("one --base_model, or one a model", found=len(bases), expected=str(len(flags.model)))
    models = []
    for path, base in zip(flags.model, bases, strict=True):
        load = LoadOptions(
            base_model=base,
            dtype=flags.dtype,
            load_in_4bit=flags.load_in_4bit,
            load_in_8bit=flags.load_in_8bit,
            merge=flags.merge,
            device=flags.device,
            attn_implementation=flags.attn_implementation,
            device_map=flags.device_map,
        )
        options = MemberOptions(
            load=load,
            batch_tokens=flags.batch_tokens,
            max_length=flags.max_length,
            swap_average=flags.swap_average,
            style=flags.style == "on",
            calibrated=flags.calibration == "auto",
        )
        models.append((path, options))
    return PredictionTask(
        inputs=flags.input,
        output=Path(flags.output).resolve(),
        models=models,
        weights=flags.weights,
        pooling=flags.pooling,
        device=flags.device,
        seconds=seconds,
        started=started,
        progress=not flags.quiet,
        limits=limits_of(flags.read_limits),
    )


def open_predictor(flags: PredictionFlags) -> "Predictor":
    """Reads what the flags name; loads no model. Raises: InputError or ModelError, one line, as `task_of`."""
    return task_of(flags).open()


def duration(text: str) -> float:
    """A flag's type: `90s`, `30m`, `8h`, `1h30m` in seconds."""
    number = r"[0-9]+(?:\.[0-9]+)?"
    if not re.fullmatch(rf"({number}[smhd])+", text):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number with its unit, such as 90s, 30m, 8h or 1h30m")
    seconds = sum(float(count) * _UNITS[unit] for count, unit in re.findall(rf"({number})([smhd])", text))
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}; expected more than no time")
    return seconds


def percent(text: str) -> int:
    """A flag's type: a share such as 0.9, in whole percent from 50 to 99."""
    if not re.fullmatch(r"0?\.[5-9][0-9]?0*", text):
        raise argparse.ArgumentTypeError(f"{text!r}; expected 0.50 to 0.99, with at most two decimals")
    return round(100 * float(text))


def positive(text: str) -> float:
    """A flag's type: a number above 0."""
    if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text) or not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number above 0, such as 2 or 0.5")
    return float(text)


def parser() -> CommandParser:
    made = CommandParser(
        prog="arena-reward predict",
        description="Battles in, a submission out, from any run directory.",
    )
    defaults = PredictionFlags()

    def switch(name: str, text: str) -> None:
        made.add_argument(name, action="store_true", help=text)

    def add(name: str, **settings: Any) -> None:
        made.add_argument(name, **{"default": getattr(defaults, name[2:])} | settings)

    add(
        "--model", nargs="+", required=True, metavar="D", help="run, baseline or blend directories; or submission files"
    )
    add("--input", nargs="+", required=True, metavar="F", help="battles: files, globs or Hub ids")
    add("--output", metavar="F", help="the submission to write")
    add("--weights", nargs="+", type=float, metavar="W", help="weights of the models, one each (default: equal)")
    add("--pooling", choices=("logarithmic", "linear"), help="which mean of several models' probabilities is taken")
    switch("--offline", "open no connection to any network")
    add(
        "--base_model",
        nargs="+",
        metavar="D",
        help="backbone directories of adapters: one, or one a model (default: those that the runs name)",
    )
    add("--batch_tokens", type=whole_number(1), metavar="N", help="tokens of a batch (default: measured on the device)")
    add(
        "--max_length", type=whole_number(1), metavar="N", help="tokens that a text is cut to (default: as in training)"
    )
    add(
        "--swap_average",
        nargs="?",
        const=1.0,
        type=share,
        metavar="SHARE",
        help="joint encoding: read this share of the battles, those with the smallest margins, in both orders and average "
        "(without a number: all, twice the time)",
    )
    add("--style", choices=("on", "off"), help="off: leave out what length and formatting explain")
    add("--calibration", choices=("auto", "none"), help="none: report the model's raw probabilities")
    switch("--rewards", "also write reward_a, reward_b, margin, tie_strength (and usable_a, usable_b)")
    add(
        "--coverage",
        type=percent,
        metavar="P",
        help="also write verdict_set: the labels that hold the human verdict in at least this share of battles, as 0.9",
    )
    add(
        "--coverage_labels",
        metavar="F",
        help="labelled battles, seen by no model, that --coverage is fitted on (default: what calibration has kept)",
    )
    add("--dtype", choices=("auto", "float32", "bfloat16", "float16"), help="auto: the fastest one on the device")
    switch("--load_in_4bit", "quantise the backbone to 4 bits (NF4); needs bitsandbytes")
    switch("--load_in_8bit", "quantise the backbone to 8 bits; needs bitsandbytes")
    switch("--merge", "add the adapter to the backbone's weights first")
    add("--attn_implementation", metavar="NAME", help="attention, such as sdpa (default: Transformers' choice)")
    add("--device", metavar="NAME", help="such as cpu or cuda:1, in one process (default: every GPU, else the CPU)")
    add(
        "--device_map",
        choices=("balanced",),
        help="balanced: spread a model that fits no single GPU over all of them, in one process",
    )
    add("--num_processes", type=whole_number(1), metavar="N", help="processes (default: one a GPU, or one)")
    add("--time_limit", type=duration, metavar="T", help="such as 8h; texts are shortened rather than run over it")
    switch("--quiet", "show no progress bar")
    add("--report", metavar="PAGE", help="page to write about labelled battles: can the model be trusted?")
    switch("--json", "print the report's figures to standard output")
    add(
        "--audit_battles",
        type=whole_number(0),
        metavar="N",
        help="battles that each change of the bias audit is tried on; 0 switches it off",
    )
    add(
        "--peers",
        nargs="*",
        metavar="D",
        help="baselines or submission files that the report compares with (default: simple systems, fitted on the spot)",
    )
    add_limit_flag(made)
    cluster = made.add_argument_group("scoring on a cluster")

    def add_ray(name: str, **settings: Any) -> None:
        cluster.add_argument(name, **{"default": getattr(defaults, name[2:])} | settings)

    add_ray(
        "--engine",
        choices=("local", "ray"),
        help="ray: stream battles from files, folders or stores through Ray Data; --output is then a folder of Parquet",
    )
    add_ray(
        "--ray_address", metavar="A", help="a running Ray cluster, such as auto or HOST:6379 (default: start one here)"
    )
    add_ray(
        "--actors", type=whole_number(1), metavar="N", help="processes with the models (default: all GPUs, or CPUs)"
    )
    add_ray("--num_cpus", type=positive, metavar="C", help="CPUs of each (default: 1)")
    add_ray("--num_gpus", type=positive, metavar="G", help="GPUs of each, as 0.5 (default: 1 where there are any)")
    add_ray("--partition_rows", type=whole_number(1), metavar="N", help="battles of a Parquet file (default: 2048)")
    return made


def command_parser(command: str, text: str | None) -> CommandParser:
    """A parser for `arena-reward COMMAND`, with those of the flags that it needs to predict with a model.

    Args:
        text: the module's docstring; its first line heads the help and the rest ends it.
    """
    head, _, rest = (text or "").partition("\n")
    made = CommandParser(prog=f"arena-reward {command}", description=head, epilog=rest)
    add = made.add_argument_group("models").add_argument
    add("--offline", action="store_true", help="open no connection to any network")
    add("--base_model", metavar="D", help="backbone directory of adapters (default: the one that each run names)")
    add("--batch_tokens", type=whole_number(1), metavar="N", help="tokens of a batch (default: measured on the device)")
    add(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="dtype of the model; auto: the fastest one on the device",
    )
    add("--device", metavar="NAME", help="such as cpu or cuda:1 (default: the first accelerator, else the CPU)")
    return made


def parse_command(made: CommandParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parsed flags of a `command_parser`; applies `--offline` at once."""
    options = made.parse_args(arguments)
    if options.offline:
        os.environ.update(OFFLINE)
    return options


def loading_of(options: argparse.Namespace, calibrated: bool) -> "MemberOptions":
    """What the flags of a `command_parser` ask of a member. Imports what loads models."""
    from reward_model.predict.member import MemberOptions
    from reward_model.run_directory.load_model import LoadOptions

    load = LoadOptions(base_model=options.base_model, dtype=options.dtype, device=options.device)
    return MemberOptions(load=load, batch_tokens=options.batch_tokens, calibrated=calibrated)
