"""Ranks the models of a file of battles: `arena-reward rank battles.csv`.

Ratings are Bradley-Terry strengths with ties, in points of Elo above the average model, with 95 % intervals and ranks, also
with style held apart. `--predictions P.csv` counts a model's predictions where a battle has no vote; `--no_votes` counts
them for every battle. `--output_dir D` writes leaderboard.csv, leaderboard.json and leaderboard.html.
"""

from collections.abc import Sequence

from arena_data.arguments import CommandParser
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.errors import InputError
from arena_data.file_io import check_output_folder
from arena_data.loading import load_battles, local_files
from arena_data.submission import align, read_submission


def parser() -> CommandParser:
    head, _, rest = (__doc__ or "").partition("\n")
    command = CommandParser(prog="arena-reward rank", description=head, epilog=rest)
    add = command.add_argument
    add("input", nargs="+", metavar="FILE", help="battles: files, globs or Hub ids")
    add("--predictions", metavar="P.csv", help="probabilities by id, counted where there is no vote")
    add("--no_votes", action="store_true", help="count predictions for every battle")
    add("--no_style", action="store_true", help="leave the style-controlled ratings out")
    add("--output_dir", metavar="D", help="folder to write CSV, JSON and page to")
    add_limit_flag(command)
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: InputError or ValueError for bad input."""
    options = parser().parse_args(arguments)
    if options.no_votes and not options.predictions:
        raise InputError("--no_votes leaves nothing to count", fix="name probabilities in --predictions")
    if options.output_dir:
        used = [file for source in options.input for file in local_files(source)]
        check_output_folder(options.output_dir, *used)
    battles = load_battles(options.input, limits=limits_of(options.read_limits))
    probabilities = None
    if options.predictions:
        probabilities = align(battles["id"], *read_submission(options.predictions), options.predictions)
    from reward_model.report.leaderboard import leaderboard

    board = leaderboard(battles, probabilities, votes=not options.no_votes, style=not options.no_style)
    print(board)
    if options.output_dir:
        print("\n".join(map(str, board.save(options.output_dir))))
    return 0
