"""A run as a plain reward model: `arena-reward export runs/minilm`, for TRL, RewardBench, vLLM, any stock code."""

from collections.abc import Sequence
from pathlib import Path

from arena_data.arguments import CommandParser, whole_number
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.loading import load_battles
from reward_model.audit.card import check_sway
from reward_model.publish.export import TOLERANCES, export
from reward_model.quiet import quiet_transformers


def parser() -> CommandParser:
    command = CommandParser(prog="arena-reward export", description=__doc__.splitlines()[0])
    add = command.add_argument
    add("directory", metavar="D", help="run directory, a frozen baseline of normalized vectors, or arena-minilm")
    add("--output", metavar="D", help="directory to write (default: the run directory's name with -export)")
    add("--base_model", metavar="D", help="directory or Hub id of the backbone (default: the one that the run names)")
    add("--dtype", choices=sorted(TOLERANCES), default="float32", help="dtype of the exported weights")
    add(
        "--device",
        metavar="NAME",
        help="device that checks the export, such as cpu or cuda:0 (default: the first accelerator, else the CPU)",
    )
    add("--battles", metavar="F", help="battles that the export is checked on (default: 64 of the built-in sample)")
    add("--max_battles", type=whole_number(1), default=64, metavar="N", help="check at most this many of those battles")
    add(
        "--max_sway",
        type=float,
        metavar="X",
        help="refuse a run whose audit, style head closed, shows a larger effect of dress or position, in win share",
    )
    add_limit_flag(command)
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status; errors are raised."""
    options = parser().parse_args(arguments)
    if options.max_sway is not None:
        check_sway(options.directory, options.max_sway, style=False)
    output = options.output or str(Path(options.directory).resolve()) + "-export"
    battles = None
    if options.battles:
        battles = load_battles(options.battles, limits=limits_of(options.read_limits))
        battles = battles.select(range(min(options.max_battles, len(battles))))
    with quiet_transformers():
        found = export(
            options.directory,
            output,
            base_model=options.base_model,
            dtype=options.dtype,
            device=options.device,
            battles=battles,
        )
    print(
        f"{output}: {found.dtype}; margins of {found.battles} battles differ from the adapter's by {found.difference:.2g} "
        f"of their spread (at most {found.tolerance:g}), {found.turned} turned"
    )
    return 0
