"""Explore battles: arena-reward explore FILE [FILE ...] --report eda.html [--json] [--split FOLDER]

One page about verdicts, models, lengths, languages and what sways people, written whole or not at all. Standard output
carries the figures as JSON where asked for; bars, summary and errors go to standard error. `--split` also writes the
battles as two files that nothing links; `--teacher P.csv --output F.jsonl` writes them with a teacher's
probabilities. Exit status 2: bad input or an unwritable page, said in one line.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import datasets

from arena_data.arguments import SEED, CommandParser, whole_number
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.errors import InputError
from arena_data.exploration.report import render
from arena_data.exploration.shares import Figures
from arena_data.exploration.statistics import describe
from arena_data.file_io import check_folder, check_output, write_atomically
from arena_data.loading import load_battles, local_files
from arena_data.splits.linking import Links
from arena_data.splits.teacher import write_taught
from arena_data.splits.write_split import PARTS, write_split
from arena_data.webpage.drawing import percent


def parser() -> CommandParser:
    command = CommandParser(prog="arena-reward explore", description="One page about a set of battles.")
    add = command.add_argument
    add("files", nargs="+", metavar="FILE", help="csv, parquet or jsonl files of battles, or a Hub dataset's id")
    add("--report", type=Path, metavar="PAGE", help="page to write, such as eda.html")
    add("--json", action="store_true", help="print the figures to standard output as JSON")
    add("--split", metavar="FOLDER", help="folder to write train.jsonl and test.jsonl to, which nothing links")
    add("--test_share", type=float, default=0.2, metavar="X", help="share of the battles that goes to test.jsonl")
    add("--seed", type=SEED, default=0, metavar="N", help="seed of the split")
    add("--teacher", nargs="+", metavar="P", help="a teacher's probabilities: csv files in the format of a submission")
    add("--output", type=Path, metavar="F", help="with --teacher: the jsonl file of battles to write")
    add(
        "--num_proc",
        type=whole_number(1, 1024),
        metavar="N",
        help="processes that read the texts (default: one a core)",
    )
    add_limit_flag(command)
    return command


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    command = parser()
    options = command.parse_args(arguments)
    if (options.teacher is None) != (options.output is None):
        command.error("--teacher and --output go together")
    if options.output is not None and options.output.suffix != ".jsonl":
        command.error(f"--output is {options.output}; expected a name that ends in .jsonl")
    if options.report is None and options.split is None and options.teacher is None and not options.json:
        command.error("nothing to do: give --report PAGE, --json, --split FOLDER or --teacher P --output F.jsonl")
    if not 0 < options.test_share < 1:
        command.error(f"--test_share is {options.test_share}; expected a number above 0 and below 1")
    return options


def _summary(figures: Figures, page: Path | None) -> str:
    verdicts = figures["overview"]["verdicts"]
    shares = ", ".join(f"{label} {percent(share['share'])}" for label, share in verdicts.items())
    parts = [f"{figures['overview']['battles']:,} battles", shares if figures["overview"]["labelled"] else "no labels"]
    parts.append(f"{figures['models']['models']:,} models")
    return "; ".join(parts) + (f"; page: {page}" if page else "")


def _check_outputs(options: argparse.Namespace) -> None:
    """Raises: InputError where a file to write cannot be, is one of those read, or is written twice."""
    used = [file for source in options.files for file in (source, *local_files(source))] + (options.teacher or [])
    outputs = [file for file in (options.report, options.output) if file is not None]
    if options.split is not None:
        outputs += [check_folder(options.split) / f"{part}.jsonl" for part in PARTS]
    for place, output in enumerate(outputs):
        check_output(output, *used, *outputs[:place])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    options = _parse(arguments)
    try:
        _check_outputs(options)
        battles = load_battles(options.files, labels="optional", limits=limits_of(options.read_limits))
        assert isinstance(battles, datasets.Dataset)  # streaming was not asked for
        links: Links | None = None
        if options.split is not None:
            sizes, links = write_split(battles, options.split, options.test_share, options.seed)
            print(links, file=sys.stderr)
            print(
                "; ".join(f"{options.split}/{name}.jsonl: {n:,} battles" for name, n in sizes.items()), file=sys.stderr
            )
        if options.teacher is not None:
            counts = write_taught(battles, options.teacher, options.output)
            print(
                f"{options.output}: {counts['written']:,} battles, {counts['untaught']:,} of them without a teacher; "
                f"{counts['left_out']:,} left out that have neither verdict nor teacher",
                file=sys.stderr,
            )
        if options.report is None and not options.json:
            return 0
        figures = describe(battles, num_proc=options.num_proc)
        if links is not None:
            figures["links"] = links.to_json()
        if options.report is not None:
            write_atomically(options.report, render(figures, options.files))
        if options.json:
            # ASCII escapes pass through any terminal's encoding.
            print(json.dumps(figures, allow_nan=False, indent=1), flush=True)
    except BrokenPipeError:
        # The reader of standard output has gone; without this the interpreter complains again when it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InputError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    else:
        print(_summary(figures, options.report), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
