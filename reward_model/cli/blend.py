"""Weighs several models into one: `arena-reward blend D1 D2 … --input labelled.csv --output B`.

Members are run directories, baselines' directories or CSV files of probabilities in the format of a submission. Their
weights, the pooling and a calibration of the whole are fitted on battles that none of them was trained on, and written to
B/blend.json; `predict.py --model B` then predicts with all of them. Where out-of-fold predictions of the training battles
are on file, one a member, `--out_of_fold P1.csv P2.csv …` fits on those, and no model runs. They are uncalibrated, as
`train_reward.py --folds` writes them: a member's own calibration is applied to them, as it will be in prediction.

`--weights 0.8 0.2` takes weights as they are and fits the rest.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from arena_data.arguments import SEED, CommandParser, whole_number
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.errors import InputError
from arena_data.file_io import check_output_folder, read_json, write_json
from arena_data.loading import local_files
from reward_model.calibration.blending import BENDS, BENT, POOLINGS, Blend, check_weights, fit_blend
from reward_model.calibration.calibration import Calibration
from reward_model.cli.flags import command_parser, loading_of, parse_command
from reward_model.evaluation.probabilities import FloatArray, row_losses
from reward_model.predict.labelled_rows import log_probs_of, read_labelled
from reward_model.pretrained.judges import judge_folder
from reward_model.run_directory.settings import BASELINE, BLEND, CALIBRATION, CONFIG


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: InputError or ValueError for bad input."""
    command = parser()
    options = parse_command(command, arguments)
    if options.weights is not None:
        check_weights(options.weights, len(options.members))
    if options.out_of_fold is not None and len(options.out_of_fold) != len(options.members):
        command.error(
            f"{len(options.out_of_fold)} files out of fold for {len(options.members)} members; one each is needed"
        )
    for member in options.members:
        if not Path(member).exists() and not judge_folder(member):
            raise InputError("is not there", file=member, expected="a run, a baseline or a CSV file of probabilities")
        if Path(member, BLEND).is_file():
            raise InputError("is a blend", file=member, expected="its members, to be weighed with the others")
    folder = Path(options.output)
    read = [*options.members, *(options.out_of_fold or []), *local_files(options.input)]
    check_output_folder(folder, *read, foreign={CONFIG: "a run", BASELINE: "a baseline"})
    rows = read_labelled(options.input, limits_of(options.read_limits))
    sources = options.out_of_fold or options.members
    members, rows = log_probs_of(sources, rows, lambda: loading_of(options, calibrated=True))
    if options.out_of_fold:
        members = [as_predicted(member, raw) for member, raw in zip(options.members, members, strict=True)]
    blend = fit_blend(
        members,
        rows.verdicts,
        rows.groups,
        None,
        options.pooling,
        options.seed,
        options.resamples,
        weights=options.weights,
        bend=options.bend,
    )
    blend = replace(blend, members=tuple(stored_name(member, folder) for member in options.members))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / BLEND, blend.to_json())
    alone = [float(row_losses(np.maximum(member, np.log(1e-15)), rows.verdicts).mean()) for member in members]
    print(summary(blend, options.members, alone))
    print(f"{folder}: use it with predict.py --model {folder}")
    return 0


def as_predicted(member: str, log_probs: FloatArray) -> FloatArray:
    """Out-of-fold log-probabilities under the member's own calibration, where it has one."""
    path = Path(member, CALIBRATION)
    return read_json(path, Calibration.from_json).apply(log_probs) if path.is_file() else log_probs


def stored_name(member: str, folder: Path) -> str:
    """An absolute path or the name of a judge that ships as it is, another path as seen from the blend's folder, so that
    both can be moved together."""
    return member if os.path.isabs(member) or judge_folder(member) else os.path.relpath(member, folder)


def summary(blend: Blend, members: Sequence[str], alone: Sequence[float]) -> str:
    """A line a member: its weight, with an interval, and its own log loss; then the blend's."""
    width = max(len(member) for member in members)
    lines = []
    for place, member in enumerate(members):
        line = f"{member:<{width}}  weight {blend.weights[place]:.3f}"
        if blend.intervals:
            low, high = blend.intervals[place]
            line += f" ({low:.3f} to {high:.3f})"
        lines.append(f"{line}  log loss {alone[place]:.4f}")
    pooled = f"{blend.pooling} pool, {blend.calibration.method}"
    lines.append(
        f"{pooled}: log loss {blend.log_loss[blend.pooling]:.4f} in cross-validation, on {blend.rows:,} battles"
    )
    if BENT in blend.log_loss:
        lines.append(f"bent: log loss {blend.log_loss[BENT]:.4f}; {'kept' if blend.bend else 'not kept'}")
    return "\n".join(lines)


def parser() -> CommandParser:
    command = command_parser("blend", __doc__)
    add = command.add_argument
    add("members", nargs="+", metavar="D", help="run or baseline directories, or CSV files")
    add("--input", required=True, metavar="FILE", help="labelled battles that no member was trained on")
    add("--output", required=True, metavar="B", help="folder to write blend.json to")
    add(
        "--out_of_fold",
        nargs="+",
        metavar="P.csv",
        help="out-of-fold predictions to fit on, one file a member (default: predict the input with every member)",
    )
    add("--pooling", choices=("auto", *POOLINGS), default="auto", help="auto: the better one in cross-validation")
    add(
        "--bend",
        choices=BENDS,
        default="auto",
        help="a correction of the pool by each member's margin and tie; auto: where cross-validation is sure that it helps",
    )
    add("--weights", nargs="+", type=float, metavar="W", help="weights to use, one a member (default: fitted)")
    add(
        "--resamples",
        type=whole_number(0, 100_000),
        default=200,
        metavar="N",
        help="bootstrap samples for the intervals",
    )
    add("--seed", type=SEED, default=0, metavar="N", help="seed of folds and bootstrap samples")
    add_limit_flag(command)
    return command
