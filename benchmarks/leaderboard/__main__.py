"""Every system on the same battles: `python -m benchmarks.leaderboard` makes docs/LEADERBOARD.md and its picture.

Grouped folds of arena/train.csv and extra.jsonl; each system trains, calibrates and predicts as `arena-reward baseline` and
`train_reward.py` do. Folds that are done are kept in `--output_dir` and not run again unless their settings have changed;
the page has a row for every system whose folds are all there, made here or elsewhere
(`benchmarks.leaderboard.results`). By default the classical systems run, in minutes; neural ones are asked for by
name and cost hours on a CPU.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import datasets
from tqdm import tqdm

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.quiet import quiet_datasets
from arena_data.splits.folds import drop_duplicates, training_split
from benchmarks.leaderboard.page import write_page
from benchmarks.leaderboard.results import Predictions, file_of
from benchmarks.leaderboard.systems import ARENA_FILES, SYSTEMS, placed_battles, run_fold, train_files


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="../shared/data", type=Path, help="with the folders arena/ and other/")
    classical = [name for name, system in SYSTEMS.items() if not system.neural]
    parser.add_argument("--systems", nargs="*", choices=list(SYSTEMS), metavar="SYSTEM", default=classical)
    parser.add_argument("--num_folds", type=int, default=5)
    parser.add_argument("--folds", nargs="+", type=int, help="of these; all if not given")
    parser.add_argument("--rerun", action="store_true", help="also what is done already")
    parser.add_argument("--output_dir", default="runs/leaderboard", type=Path, help="where finished folds are kept")
    parser.add_argument("--page", default="docs/LEADERBOARD.md", type=Path, help="its picture lies beside it")
    neural = parser.add_argument_group("neural systems")
    neural.add_argument("--model_name_or_path", default="models/minilm", help="the backbone; part of the row's name")
    neural.add_argument("--max_length", type=int, default=256, help="of one side; a joint row may have twice as many")
    neural.add_argument("--num_train_epochs", type=float, default=2)
    neural.add_argument("--learning_rate", type=float, default=5e-5)
    neural.add_argument("--batch_tokens", type=int, default=4096)
    neural.add_argument("--bf16", action="store_true", help="autocast to bfloat16; slow where a CPU has none")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 2 for what a person has to mend."""
    options = parse(arguments)
    try:
        run(options)
        rows = write_page(options.page, options.output_dir, options.num_folds)
    except (InputError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{rows} systems in {options.page}")
    return 0


def run(options: argparse.Namespace) -> None:
    """Runs every fold that is asked for and not done. Raises: InputError for battles that cannot be read."""
    folds = range(options.num_folds) if options.folds is None else options.folds
    jobs = [(name, fold) for fold in folds for name in options.systems if not done(options, name, fold)]
    if not jobs:
        return
    battles = placed_battles(train_files(options.data_dir))
    with quiet_datasets(), tqdm(jobs, desc="Folds", unit="fold") as bar:
        for name, fold in bar:
            bar.set_postfix_str(f"{name} {fold + 1}/{options.num_folds}")
            parts = training_split(battles, num_folds=options.num_folds, fold=fold)
            extra = extra_battles(options.data_dir, SYSTEMS[name].extra)
            if SYSTEMS[name].kind:
                predictions = run_fold(SYSTEMS[name], options, parts, extra)
            elif SYSTEMS[name].peer:
                from benchmarks.leaderboard.peers import run_peer_fold  # slow to import: only where it is needed

                predictions = run_peer_fold(SYSTEMS[name], options, parts)
            else:
                from benchmarks.leaderboard.ours import run_our_fold

                predictions = run_our_fold(SYSTEMS[name], options, parts, fold)
            predictions.write(result_file(options, name, fold))


@functools.cache
def extra_battles(data_dir: Path, names: tuple[str, ...]) -> datasets.Dataset | None:
    """Battles of other sources by their files' names. A release that is in two files is two sources: only one has ties."""
    parts = []
    for name in names:
        part = load_battles(
            [data_dir / ("arena" if name in ARENA_FILES else "other") / f"{name}.jsonl"], labels="required"
        )
        sources = [f"{name}/{source}" for source in part["source"]]
        parts.append(part.remove_columns("source").add_column("source", sources).select_columns(part.column_names))
    return drop_duplicates(datasets.concatenate_datasets(parts))[0] if parts else None


def result_file(options: argparse.Namespace, name: str, fold: int) -> Path:
    row = f"{name}-{Path(options.model_name_or_path).name}" if SYSTEMS[name].neural else name
    return file_of(options.output_dir, row, fold, options.num_folds)


def done(options: argparse.Namespace, name: str, fold: int) -> bool:
    file = result_file(options, name, fold)
    return not options.rerun and file.exists() and Predictions.read(file).about == SYSTEMS[name].made_by(options)


if __name__ == "__main__":
    sys.exit(main())
