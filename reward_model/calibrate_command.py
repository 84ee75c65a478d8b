"""Fits or applies a calibration: `python -m reward_model calibrate …`, in three ways.

    calibrate D --input labelled.csv                                          the map of a run or baseline, fitted anew
    calibrate --predictions P.csv --input Y.csv --output calibration.json     a map for anyone's probabilities
    calibrate --apply calibration.json --predictions P.csv --output Q.csv     those probabilities, mapped

P, Q and Y are in the format of a submission: an id and three columns; Y holds verdicts, one-hot or fractions. Rows are
matched by id. Battles a model was trained on say nothing about it: use held-out ones.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arena_data.errors import BattleError
from arena_data.submission import align, read_submission, write_submission
from reward_model.calibration import METHODS, Calibration, fit
from reward_model.json_files import read_json, write_json
from reward_model.rows import FloatArray

CALIBRATION = "calibration.json"


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: BattleError or ValueError for bad input."""
    parser = _parser()
    options = parser.parse_args(arguments)
    form = _form(options)
    if form is None:
        parser.error("give D --input, or --predictions --input --output, or --apply --predictions --output; see --help")
    form(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    head, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m reward_model calibrate",
        description=head,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", metavar="D", help="a run directory or a baseline's")
    parser.add_argument("--input", metavar="FILE", help="labelled battles for D; verdicts by id for --predictions")
    parser.add_argument("--predictions", metavar="P.csv", help="probabilities by id")
    parser.add_argument("--apply", metavar="JSON", help="a fitted map")
    parser.add_argument("--output", metavar="FILE", help="what to write; D's own calibration.json if D is given")
    parser.add_argument("--method", choices=("auto", *METHODS), default="auto", help="the map; default: %(default)s")
    parser.add_argument(
        "--any_map",
        action="store_true",
        help="let auto take a map that treats A and B differently if it is clearly better; "
        "a model that does not care about their order will then do so",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the folds; default: %(default)s")
    return parser


def _form(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    given = {name for name in ("model", "input", "predictions", "apply", "output") if getattr(options, name)}
    if given == {"predictions", "input", "output"}:
        return fit_predictions
    if given == {"apply", "predictions", "output"}:
        return apply_to_predictions
    return None


def fit_predictions(options: argparse.Namespace) -> None:
    """Two CSV files in, calibration.json out."""
    ids, verdicts = read_submission(options.input)
    if not ids:
        raise BattleError("has no rows", file=options.input, expected="verdicts to fit on")
    log_probs = align(ids, *read_log_probs(options.predictions), options.predictions)
    write(options.output, _fitted(options, log_probs, verdicts, None))


def apply_to_predictions(options: argparse.Namespace) -> None:
    """A map and a CSV file in, the mapped CSV file out."""
    calibration = read_json(options.apply, Calibration.from_json)
    ids, log_probs = read_log_probs(options.predictions)
    write_submission(options.output, ids, np.exp(calibration.apply(log_probs)))
    print(f"{options.output}: {len(ids):,} rows, {calibration.method}")


def read_log_probs(path: str | os.PathLike[str]) -> tuple[list[str], FloatArray]:
    """Ids and float64 [n, 3], -inf for a probability of 0. Raises: BattleError as `read_submission`."""
    ids, probabilities = read_submission(path)
    with np.errstate(divide="ignore"):
        return ids, np.log(probabilities)


def write(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Writes calibration.json and says what it is worth."""
    write_json(path, calibration.to_json())
    values = ", ".join(f"{name} {value:.4g}" for name, value in calibration.parameters.items())
    print(
        f"{Path(path)}: {calibration.method}{f' ({values})' if values else ''}, "
        f"log loss {calibration.log_loss_before:.4f} before and {calibration.log_loss_after:.4f} after, "
        f"on {calibration.rows:,} battles"
    )


def _fitted(
    options: argparse.Namespace, log_probs: FloatArray, verdicts: FloatArray, groups: Sequence[str] | None
) -> Calibration:
    return fit(log_probs, verdicts, groups, options.method, options.seed, swap_exact=not options.any_map)
