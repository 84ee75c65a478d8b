"""Fits or applies a calibration: `arena-reward calibrate …`, in four ways.

    calibrate D --input labelled.csv                                          the map of a run or baseline, fitted anew
    calibrate M --input labelled.csv --output D                               a stock reward model, wrapped as D
    calibrate --predictions P.csv --input Y.csv --output calibration.json     a map for anyone's probabilities
    calibrate --apply calibration.json --predictions P.csv --output Q.csv     those probabilities, mapped

M is a directory or Hub id of a model with one label. D refers to it and holds the tie link that makes probabilities of its
rewards. P, Q and Y are in the format of a submission: an id and three columns; Y holds verdicts, one-hot or fractions, or is
any file of labelled battles. P may hold a judge's verdicts in letters: id, verdict, and maybe verdict_swapped. Rows are
matched by id. Battles a model was trained on say nothing about it: use held-out ones.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from arena_data.arguments import SEED, CommandParser
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.errors import InputError
from arena_data.file_io import check_output, read_json, write_json
from arena_data.loading import local_files
from arena_data.submission import align, write_submission
from reward_model.calibration.calibration import Calibration, fit
from reward_model.calibration.maps import METHODS
from reward_model.cli.flags import command_parser, loading_of, parse_command
from reward_model.evaluation.probabilities import FloatArray
from reward_model.predict.labelled_rows import LabelledRows, log_probs_of, read_labelled
from reward_model.predict.open_member import files_read, read_log_probs
from reward_model.run_directory.settings import BASELINE, BLEND, CALIBRATION, CONFIG, STOCK
from reward_model.run_directory.stock import is_stock_directory, looks_like_hub_id


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: InputError or ValueError for bad input."""
    command = parser()
    options = parse_command(command, arguments)
    form = _form(options)
    if form is None:
        command.error("give D --input, or --predictions --input --output, or --apply --predictions --output")
    form(options)
    return 0


def parser() -> CommandParser:
    command = command_parser("calibrate", __doc__)
    add = command.add_argument
    add(
        "model",
        nargs="?",
        metavar="D",
        help="a run directory or a baseline's; directory or Hub id of a stock reward model",
    )
    add("--input", metavar="FILE", help="labelled battles for D; verdicts by id for --predictions")
    add("--predictions", metavar="P.csv", help="probabilities or verdicts by id")
    add("--apply", metavar="JSON", help="a fitted map")
    add(
        "--output",
        metavar="FILE",
        help="file to write (default: D's own calibration.json); directory, for a stock model",
    )
    add("--method", choices=("auto", *METHODS), default="auto", help="auto: the best map in cross-validation")
    add(
        "--any_map",
        action="store_true",
        help="let auto take a map that treats A and B differently, if it is clearly better; "
        "swapping A and B may then change the answer",
    )
    add("--seed", type=SEED, default=0, metavar="N", help="seed of the folds")
    add_limit_flag(command)
    return command


def _form(options: argparse.Namespace) -> Callable[[argparse.Namespace], None] | None:
    given = {name for name in ("model", "input", "predictions", "apply", "output") if getattr(options, name)}
    if given - {"output"} == {"model", "input"}:
        return refit
    if given == {"predictions", "input", "output"}:
        return fit_predictions
    if given == {"apply", "predictions", "output"}:
        return apply_to_predictions
    return None


def refit(options: argparse.Namespace) -> None:
    """A run or a baseline and labelled battles in, its calibration.json fitted anew."""
    folder = Path(options.model)
    if (folder / STOCK).is_file() or is_stock_directory(folder) or looks_like_hub_id(options.model):
        wrap(options)
        return
    if not folder.is_dir() or (folder / BLEND).is_file():
        what = "is a blend" if folder.is_dir() else "is no directory"
        raise InputError(
            what, file=options.model, expected="a run directory or a baseline's", fix="use blend or --predictions"
        )
    if not (folder / CONFIG).is_file() and not (folder / BASELINE).is_file():
        raise InputError(
            "is neither a run nor a baseline", file=options.model, expected=f"{CONFIG} or {BASELINE} in it"
        )
    output = Path(options.output or folder / CALIBRATION)
    # The model's own calibration is what is fitted anew.
    read = [file for file in files_read(options.model) if file != folder / CALIBRATION]
    _check_calibration(output, *local_files(options.input), *read)
    rows = read_labelled(options.input, limits_of(options.read_limits))
    (log_probs,), rows = log_probs_of([options.model], rows, lambda: loading_of(options, calibrated=False))
    write(output, _fitted(options, log_probs, rows))


def wrap(options: argparse.Namespace) -> None:
    """A stock reward model and labelled battles in, a directory that wraps the model out."""
    from reward_model.hub_deadline import limit_hub
    from reward_model.predict.wrapping import wrap_stock

    again = Path(options.model, STOCK).is_file()
    if options.output is None and not again:
        raise InputError(
            "a stock reward model needs a directory to be wrapped in", file=options.model, fix="give --output D"
        )
    if options.method != "auto" or options.any_map:
        raise InputError(
            "a stock reward model has a tie link, no map", file=options.model, fix="leave out --method, --any_map"
        )
    limit_hub()
    output = options.output or options.model
    limits = limits_of(options.read_limits)
    link = wrap_stock(options.model, options.input, output, loading_of(options, calibrated=True), limits)
    print(
        f"{output}: {link.link} link, scale {link.scale:.4g}, tie strength {link.tie_strength:.4g}, log loss "
        f"{link.log_loss:.4f} in cross-validation (class prior {link.prior_log_loss:.4f}), on {link.rows:,} battles"
    )
    if link.log_loss >= link.prior_log_loss:
        print("warning: the rewards tell no more of these votes than their shares do", file=sys.stderr)


def fit_predictions(options: argparse.Namespace) -> None:
    """Two CSV files in, calibration.json out."""
    _check_calibration(options.output, *local_files(options.input), options.predictions)
    rows = read_labelled(options.input, limits_of(options.read_limits))
    log_probs = align(rows.ids, *read_log_probs(options.predictions), options.predictions)
    write(options.output, _fitted(options, log_probs, rows))


def apply_to_predictions(options: argparse.Namespace) -> None:
    """A map and a CSV file in, the mapped CSV file out."""
    check_output(options.output, options.apply, options.predictions)
    calibration = read_json(options.apply, Calibration.from_json)
    ids, log_probs = read_log_probs(options.predictions)
    write_submission(options.output, ids, np.exp(calibration.apply(log_probs)))
    print(f"{options.output}: {len(ids):,} rows, {calibration.method}")


def write(path: str | Path, calibration: Calibration) -> None:
    """Writes calibration.json and says what it is worth."""
    write_json(path, calibration.to_json())
    values = ", ".join(f"{name} {value:.4g}" for name, value in calibration.parameters.items())
    print(
        f"{Path(path)}: {calibration.method}{f' ({values})' if values else ''}, "
        f"log loss {calibration.log_loss_before:.4f} before and {calibration.log_loss_after:.4f} after, "
        f"on {calibration.rows:,} battles"
    )


def _check_calibration(path: str | Path, *used: str | Path) -> None:
    """Raises: InputError where a calibration cannot be written, or would replace a file that is none."""
    check_output(path, *used)
    if Path(path).exists():
        try:
            read_json(path, Calibration.from_json)
        except InputError:
            raise InputError("exists and is no calibration", file=path, fix="name another --output") from None


def _fitted(options: argparse.Namespace, log_probs: FloatArray, rows: LabelledRows) -> Calibration:
    swap_exact = not options.any_map
    return fit(log_probs, rows.verdicts, rows.groups, options.method, options.seed, swap_exact=swap_exact)
