"""Trains a baseline: arena-reward baseline KIND --train_file F [F2 …] --output_dir D [--extra_file …] [the kind's options]

Battles are split by prompt as in `train_reward.py`: the system learns from one part, calibration is fitted on a second,
and the figures are of a third. The directory is what `predict.py --model` takes. Exit status 2: bad input, in one line.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from arena_data.arguments import SEED, CommandParser, argument_texts, share, whole_number
from arena_data.containers.limit_flags import add_limit_flag
from arena_data.errors import InputError
from arena_data.file_io import check_output, check_output_folder
from arena_data.loading import local_files
from reward_model.baselines.base import KINDS, class_of
from reward_model.run_directory.settings import BASELINE, BLEND, CALIBRATION, CONFIG, METRICS


def parser(kind: str | None = None) -> CommandParser:
    """The flags of every kind, and the own ones of `kind`."""
    kinds = "\n".join(f"  {kind:<16}{what}" for kind, (_, what) in KINDS.items())
    command = CommandParser(prog="arena-reward baseline", description=f"{__doc__}\nkinds:\n{kinds}")
    add = command.add_argument
    add("kind", choices=list(KINDS), metavar="KIND", help="the system to train")
    add("--train_file", nargs="+", required=True, metavar="F", help="labelled battles, as for train")
    add("--eval_file", nargs="+", metavar="F", help="held-out battles (default: a share of --train_file)")
    add("--extra_file", nargs="+", metavar="F", help="labelled battles from elsewhere, with tie rates of their own")
    add("--output_dir", required=True, type=Path, metavar="D", help="directory to write")
    add("--validation_share", type=share, default=0.1, metavar="X", help="share of the prompts that is held out")
    add("--calibration_share", type=share, default=0.1, metavar="X", help="share that only calibration is fitted on")
    add(
        "--num_folds",
        type=whole_number(2, 1000),
        metavar="N",
        help="hold out one of this many folds in place of --validation_share",
    )
    add("--fold", type=whole_number(0), default=0, metavar="N", help="which of --num_folds is held out, counted from 0")
    add("--split_seed", type=SEED, default=0, metavar="N", help="seed of the split by prompt")
    add_limit_flag(command)
    if kind:
        add_options(command, kind)
    return command


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    return parser(next((argument for argument in arguments if argument in KINDS), None)).parse_args(arguments)


def add_options(command: argparse.ArgumentParser, kind: str) -> None:
    """A flag for each of the kind's options, which are the fields of its dataclass."""
    texts = argument_texts(class_of(kind))
    group = command.add_argument_group(f"options of {kind}")
    for option in fields(class_of(kind)):
        text = texts.get(option.name)
        if option.default is MISSING:
            group.add_argument(f"--{option.name}", required=True, help=text)
        elif isinstance(option.default, bool):
            switch = argparse.BooleanOptionalAction
            group.add_argument(f"--{option.name}", action=switch, default=option.default, help=text)
        else:
            kind_of_value: Any = type(option.default)
            letter = {int: "N", float: "X"}.get(kind_of_value, "TEXT")
            if kind_of_value is int and option.default >= 0:
                kind_of_value = whole_number(0)
            group.add_argument(
                f"--{option.name}", type=kind_of_value, default=option.default, metavar=letter, help=text
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        files = [*options.train_file, *(options.eval_file or []), *(options.extra_file or [])]
        _check_outputs(options.output_dir, files)
        from reward_model.baselines.training import train  # after the flags are known to be right: it is slow to import

        own: dict[str, Any] = {option.name: getattr(options, option.name) for option in fields(class_of(options.kind))}
        metrics = train(class_of(options.kind)(**own), options)
    except (InputError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(
        f"held-out log loss {metrics['log_loss']:.4f}, accuracy {metrics['accuracy']:.3f}"
        f" (class prior {metrics['class_prior_log_loss']:.4f}, ln 3 = 1.0986); {options.kind} in {options.output_dir}"
    )
    return 0


def _check_outputs(folder: Path, files: Sequence[str]) -> None:
    """Raises: InputError where the directory cannot be written, is another kind of model, or holds a file of battles."""
    read = [file for source in files for file in (source, *local_files(source))]
    check_output_folder(folder, *read, foreign={CONFIG: "a run", BLEND: "a blend"})
    for name in (BASELINE, CALIBRATION, METRICS) if folder.is_dir() else ():
        check_output(folder / name, *read)


if __name__ == "__main__":
    sys.exit(main())
