"""A run as a plain reward model: `arena-reward export runs/minilm`, for TRL, RewardBench, vLLM, any stock code."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from arena_data.loading import load_battles
from reward_model.publish.export import TOLERANCES, export
from reward_model.quiet import quiet_transformers


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status; errors are raised."""
    parser = argparse.ArgumentParser(prog="arena-reward export", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("directory", help="run directory")
    add("--output", metavar="D", help="the run directory's name with -export if not given")
    add("--base_model", metavar="D", help="directory or Hub id of the backbone, in the place of the run's own")
    add("--dtype", choices=sorted(TOLERANCES), default="float32", help="of the weights; float32 if not given")
    add("--device", metavar="NAME", help="that checks the export, such as cpu or cuda:0")
    add("--battles", metavar="F", help="that it is checked on; 64 of the built-in sample if not given")
    add("--max_battles", type=int, default=64, metavar="N", help="at most so many of them")
    options = parser.parse_args(arguments)
    output = options.output or str(Path(options.directory).resolve()) + "-export"
    battles = None
    if options.battles:
        battles = load_battles(options.battles)
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
