"""Win shares from many predictions and few votes: `arena-reward votes --predictions P.csv --labels few.csv`.

P.csv has the probabilities of all battles by id, as predict.py writes them. few.csv has human verdicts of some of these
battles: one-hot or fractions by id, or any file of labelled battles. These must be picked at random, or by --ask. The
interval is valid even if the predictions are wrong, as long as the model has not seen the votes.

`--input` names the battles themselves: then there is a win share for each model, and battles of a prompt count together.

`--ask 100 --output_ask ask.csv` picks battles to vote on next. The file lists all battles: `ask` says `yes`, `no` or
`voted`, and `probability` is the chance of having been asked by then. Once their votes are in few.csv, add
`--asked ask.csv`.
"""

import argparse
import csv
from collections.abc import Sequence
from typing import Any

import numpy as np

from arena_data.arguments import SEED, CommandParser
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.errors import InputError
from arena_data.file_io import check_output, write_atomically, write_json
from arena_data.loading import local_files
from arena_data.submission import quoted, read_submission
from reward_model.cli.flags import whole_number
from reward_model.evaluation.probabilities import FloatArray
from reward_model.evaluation.votes import Interval, WinShare, ask, score, win_share
from reward_model.predict.labelled_rows import read_labelled

ASK_COLUMNS = ("id", "ask", "probability")


def parser() -> CommandParser:
    head, _, rest = (__doc__ or "").partition("\n")
    command = CommandParser(prog="arena-reward votes", description=head, epilog=rest)
    add = command.add_argument
    add("--predictions", required=True, metavar="P.csv", help="probabilities of all battles by id")
    add("--labels", required=True, metavar="FILE", help="human verdicts of some of them")
    add("--input", metavar="FILE", help="the battles of the predictions, with prompts and names of models")
    add("--asked", metavar="ask.csv", help="what --output_ask wrote before these votes (default: picked at random)")
    add("--width", type=float, metavar="W", help="say how many more votes an interval of this width needs, as 0.04")
    add("--ask", type=whole_number(1), metavar="N", help="pick N battles to vote on next, for --output_ask")
    add("--output_ask", metavar="F", help="file to write the picked battles to")
    add("--output", metavar="J.json", help="file to write the figures to")
    add("--seed", type=SEED, default=0, metavar="N", help="seed of --ask")
    add_limit_flag(command)
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: InputError or ValueError for bad input."""
    command = parser()
    options = command.parse_args(arguments)
    if (options.ask is None) != (options.output_ask is None):
        command.error("--ask and --output_ask go together")
    if options.width is not None and not 0 < options.width < 1:
        command.error(f"--width is {options.width:g}; expected a share between 0 and 1")
    given = [options.predictions, *local_files(options.labels), *([options.asked] if options.asked else [])]
    given += local_files(options.input) if options.input else []
    outputs = [file for file in (options.output, options.output_ask) if file]
    for file in outputs:
        check_output(file, *given, *(other for other in outputs if other is not file))

    ids, probabilities = read_submission(options.predictions)
    voted, groups, sides = _votes(options, ids)
    asked_with = None if options.asked is None else _chances(options.asked, ids, ~np.isnan(voted))
    predicted = score(probabilities)
    figures = {"a": win_share(predicted, voted, groups, asked_with)}
    print(sentence("A wins", figures["a"], options.width))
    lines, too_few = by_model(predicted, voted, groups, asked_with, sides)
    figures |= lines
    if lines:
        print("\n".join(table(lines)))
    if too_few:
        print(f"too few votes for an interval: {', '.join(too_few)}")
    if options.output:
        write_json(options.output, {name: as_json(share, options.width) for name, share in figures.items()})
    if options.ask:
        picked, chances = ask(probabilities, ~np.isnan(voted), options.ask, asked_with, options.seed)
        _write_ask(options.output_ask, ids, picked, voted, chances)
        print(f"{options.output_ask}: {options.ask:,} battles to vote on")
    return 0


def by_model(
    predicted: FloatArray,
    voted: FloatArray,
    groups: Sequence[str] | None,
    asked_with: FloatArray | None,
    sides: Sequence[Sequence[str | None]] | None,
) -> tuple[dict[str, WinShare], list[str]]:
    """Each model's win share, highest first, and the models with too few votes; nothing where no models are named."""
    if sides is None:
        return {}, []
    first, second = (np.array(side, dtype=object) for side in sides)
    shares, too_few = {}, []
    for name in sorted({name for side in sides for name in side if name is not None}):
        rows = np.flatnonzero(((first == name) | (second == name)) & (first != second))
        turn = second[rows] == name
        try:
            shares[name] = win_share(
                np.where(turn, 1 - predicted[rows], predicted[rows]),
                np.where(turn, 1 - voted[rows], voted[rows]),
                None if groups is None else [groups[row] for row in rows.tolist()],
                None if asked_with is None else asked_with[rows],
            )
        except ValueError:
            too_few.append(name)
    return dict(sorted(shares.items(), key=lambda item: -item[1].powered.value)), too_few


def sentence(what: str, share: WinShare, width: float | None) -> str:
    """The share in words."""
    text = (
        f"{what} {_text(share.powered)} from {share.votes:,} votes and {share.battles:,} predictions; "
        f"from the votes alone {_text(share.alone)}: the interval is {share.narrower:.0%} narrower"
    )
    if width is None:
        return text
    more = share.more_votes(width)
    needed = "needs more battles than these" if more is None else f"needs {more:,} more votes"
    return f"{text}; a width of {width:.1%} {needed}"


def table(shares: dict[str, WinShare]) -> list[str]:
    """A line a model."""
    wide = max(map(len, shares))
    return [
        f"{name:<{wide}}  {_text(share.powered)}  {share.votes:,} votes, {share.narrower:.0%} narrower"
        for name, share in shares.items()
    ]


def as_json(share: WinShare, width: float | None) -> dict[str, Any]:
    """The share as plain numbers."""
    plain: dict[str, Any] = {
        **vars(share.powered),
        "votes_alone": vars(share.alone),
        "narrower": share.narrower,
        "trust": share.trust,
        "votes": share.votes,
        "battles": share.battles,
    }
    return plain if width is None else plain | {"width": width, "more_votes": share.more_votes(width)}


def _text(interval: Interval) -> str:
    return f"{interval.value:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _votes(
    options: argparse.Namespace, ids: Sequence[str]
) -> tuple[FloatArray, list[str] | None, list[list[str | None]] | None]:
    """Scores as voted, float64 [n], NaN without; the battles' prompts; the names of the models of A and of B."""
    place = {name: row for row, name in enumerate(ids)}
    labels = read_labelled(options.labels, limits_of(options.read_limits))
    if unknown := [name for name in labels.ids if name not in place]:
        raise InputError(
            f"{len(unknown)} of {len(labels.ids)} battles have no prediction",
            file=options.labels,
            column="id",
            found=unknown[0],
            expected=f"ids of {options.predictions}",
        )
    voted = np.full(len(ids), np.nan)
    rows = [place[name] for name in labels.ids]
    voted[rows] = score(labels.verdicts)
    groups: list[str] | None = None
    if labels.groups is not None:
        groups = [f"id {name}" for name in ids]
        for row, group in zip(rows, labels.groups, strict=True):
            groups[row] = group
    if options.input is None:
        return voted, groups, None
    from arena_data.loading import load_battles

    battles = load_battles(options.input, limits=limits_of(options.read_limits))
    row_of = {name: row for row, name in enumerate(battles["id"][:])}
    if missing := [name for name in ids if name not in row_of]:
        raise InputError(
            f"{len(missing)} of {len(ids)} predicted battles are missing",
            file=options.input,
            column="id",
            expected=f"{missing[0]!r} and so on",
        )
    wanted = battles.select([row_of[name] for name in ids])
    sides = [list(wanted["model_a"]), list(wanted["model_b"])]
    return voted, list(wanted["group"]), sides if any(name is not None for name in sides[0]) else None


def _chances(path: str, ids: Sequence[str], voted: np.ndarray) -> FloatArray:
    """The probability of each battle of having been asked. Raises: InputError for a file that --output_ask did not write."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in ASK_COLUMNS if name not in (reader.fieldnames or [])]:
                raise InputError(f"column {missing[0]!r} is missing", file=path, expected=", ".join(ASK_COLUMNS))
            cells = {row["id"]: row for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error})", file=path) from error
    chances = np.empty(len(ids))
    for number, name in enumerate(ids):
        cell = cells.get(name, {}).get("probability") or ""
        try:
            chances[number] = float(cell)
        except ValueError:
            chances[number] = np.nan
        if not 0 < chances[number] <= 1:
            raise InputError(
                f"battle {name!r} has no probability", file=path, found=cell, expected="a number above 0, at most 1"
            )
        if voted[number] and cells[name]["ask"] == "no":
            raise InputError(
                f"battle {name!r} has a vote but was not asked about", file=path, fix="leave its vote out of --labels"
            )
        if not voted[number] and cells[name]["ask"] != "no":
            raise InputError(
                f"battle {name!r} was asked about but has no vote", file=path, fix="add its vote to --labels"
            )
    return chances


def _write_ask(path: str, ids: Sequence[str], picked: np.ndarray, voted: FloatArray, chances: FloatArray) -> None:
    lines = [",".join(ASK_COLUMNS)]
    for name, is_picked, vote, chance in zip(ids, picked, voted, chances, strict=True):
        state = "yes" if is_picked else "no" if np.isnan(vote) else "voted"
        lines.append(f"{quoted(name)},{state},{chance:.9f}")
    write_atomically(path, "\n".join([*lines, ""]))
