"""Measures a judge on a benchmark: `arena-reward bench MODEL --file F …`, by the benchmark's own rule.

MODEL is a run directory, a baseline, a blend, a stock reward model (a directory or Hub id) or a CSV file of answers by the
items' ids. Files are those that the benchmark's authors publish; the benchmark is told by their columns. Of a run with a
style head the figures are given twice, the second time with the head closed. Intervals are of 95 %, by a bootstrap over
prompts.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from arena_data.arguments import CommandParser
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.file_io import check_output, write_json
from arena_data.loading import local_files
from reward_model.bench.items import BENCHMARKS
from reward_model.cli.flags import command_parser, loading_of, parse_command, whole_number


def parser() -> CommandParser:
    command = command_parser("bench", __doc__)
    add = command.add_argument
    add("model", metavar="MODEL", help="a judge: run, baseline, blend or stock model; or a CSV file of answers")
    add("--file", nargs="+", required=True, metavar="F", help="the benchmark's files: files, globs or Hub ids")
    add("--benchmark", choices=list(BENCHMARKS), help="which one (default: told by the columns)")
    add("--output", metavar="JSON", help="file to write the figures to")
    add("--json", action="store_true", help="print the figures as JSON instead of a table")
    add("--max_items", type=whole_number(1), metavar="N", help="use only so many items, spread over the files")
    add("--max_length", type=whole_number(1), metavar="N", help="tokens that a text is cut to (default: the model's)")
    add("--resamples", type=whole_number(0), default=1000, metavar="N", help="bootstrap samples for the intervals")
    add_limit_flag(command)
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: InputError or ModelError, one line."""
    options = parse_command(parser(), arguments)
    if options.output:
        check_output(options.output, options.model, *(name for file in options.file for name in local_files(file)))
    from reward_model.bench.bench import bench, every_nth, table_lines  # seconds to import
    from reward_model.bench.files import read_items
    from reward_model.predict.open_member import open_judge

    how = replace(loading_of(options, calibrated=True), max_length=options.max_length)
    member = open_judge(options.model, how)
    benchmark, items = read_items(options.file, options.benchmark, limits_of(options.read_limits))
    items = every_nth(items, options.max_items)
    report = bench(member, benchmark, items, resamples=options.resamples, progress=sys.stderr.isatty())
    if options.output:
        write_json(options.output, report)
    print(json.dumps(report, allow_nan=False, indent=1) if options.json else "\n".join(table_lines(report)))
    if report["not_scored"]:
        print(f"warning: {report['not_scored']:,} items could not be scored and count as wrong", file=sys.stderr)
    return 0
