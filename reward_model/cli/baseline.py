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

from arena_data.errors import InputError
from reward_model.baselines.base import KINDS, class_of


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    kinds = "\n".join(f"  {kind:<16}{what}" for kind, (_, what) in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="arena-reward baseline",
        description=f"{__doc__}\nkinds:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=list(KINDS), metavar="KIND")
    parser.add_argument("--train_file", nargs="+", required=True, help="labelled battles, as for train_reward.py")
    parser.add_argument("--eval_file", nargs="+", help="held-out battles; without them a part of --train_file")
    parser.add_argument("--extra_file", nargs="+", help="labelled battles from elsewhere, with tie rates of their own")
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--validation_share", type=float, default=0.1)
    parser.add_argument("--calibration_share", type=float, default=0.1)
    parser.add_argument("--num_folds", type=int, help="validation is one of so many folds")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--split_seed", type=int, default=0)
    chosen = next((argument for argument in arguments if argument in KINDS), None)
    if chosen:
        add_options(parser, chosen)
    return parser.parse_args(arguments)


def add_options(parser: argparse.ArgumentParser, kind: str) -> None:
    """A flag for each of the kind's options, which are the fields of its dataclass."""
    group = parser.add_argument_group(f"options of {kind}", (class_of(kind).__doc__ or "").strip())
    for option in fields(class_of(kind)):
        if option.default is MISSING:
            group.add_argument(f"--{option.name}", required=True)
        elif isinstance(option.default, bool):
            group.add_argument(f"--{option.name}", action=argparse.BooleanOptionalAction, default=option.default)
        else:
            group.add_argument(f"--{option.name}", type=type(option.default), default=option.default)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        from reward_model.baselines.training import (
            train,  # after the arguments are known to be right: it is slow to import
        )

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


if __name__ == "__main__":
    sys.exit(main())
