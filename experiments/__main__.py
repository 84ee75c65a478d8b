"""Asks questions on real battles and writes the answers down: python -m experiments [--questions NAME …] [--list]

Questions, arms and options are in one file, `experiments/questions.yaml`. What is done is kept in `--output_dir` and not
run again, so a run that was stopped goes on where it was; each answer is a section of `--page`. By default all questions
about frozen backbones and style are asked; those that train backbones cost hours on a CPU and are asked by name.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from arena_data.errors import InputError
from arena_data.quiet import quiet_datasets
from experiments.page import section_of, write_section
from experiments.questions import Question, read_file
from experiments.running import Bench

FILE = Path(__file__).with_name("questions.yaml")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Those that the learning curve takes too."""
    parser.add_argument("--file", default=FILE, type=Path, help="of configurations")
    parser.add_argument("--data_dir", default="../shared/data", type=Path, help="with the folders arena/ and other/")
    parser.add_argument("--output_dir", default="runs/experiments", type=Path, help="where finished folds are kept")
    parser.add_argument("--page", default="docs/EXPERIMENTS.md", type=Path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 2 for what a person has to mend."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_flags(parser)
    parser.add_argument("--questions", nargs="+", metavar="NAME", help="these; else all that train no backbone")
    parser.add_argument("--list", action="store_true", help="say what can be asked, and run nothing")
    parser.add_argument("--rerun", action="store_true", help="also what is done already")
    options = parser.parse_args(arguments)
    try:
        known, _ = read_file(options.file)
        if options.list:
            print("\n".join(f"{name:<24}{one.question}{' (costly)' * one.costly}" for name, one in known.items()))
            return 0
        ask(chosen(known, options.questions), options)
    except (InputError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def chosen(known: dict[str, Question], names: Sequence[str] | None) -> list[Question]:
    """Raises: ValueError for a question that is not in the file."""
    if names is None:
        return [question for question in known.values() if not question.costly]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no question {', '.join(unknown)}; expected some of {', '.join(known)}")
    return [known[name] for name in names]


def ask(questions: Sequence[Question], options: argparse.Namespace) -> None:
    """Each question in turn, its answer written as soon as it is there."""
    bench = Bench(options.data_dir, options.output_dir)
    with quiet_datasets():
        for question in questions:
            bench.run(list(question.arms.values()), question.seeds, rerun=options.rerun)
            write_section(options.page, question.name, section_of(question, bench))
            print(f"{question.name}: in {options.page}")


if __name__ == "__main__":
    sys.exit(main())
