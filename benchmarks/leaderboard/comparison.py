"""Ours against its peers on real battles: `python -m benchmarks.leaderboard.comparison --train_file F [F2 ...]`.

Grouped folds; in each, every system trains on the same battles with the same backbone, learning rate, precision and
number of real tokens, and predicts the same held-out battles. Finished folds are kept in `--output_dir` and not run again.

| system | what it is |
| --- | --- |
| prior | the training split's shares of A, B and tie |
| trl | TRL's RewardTrainer as it stands: ties dropped; its reward difference goes through a Rao–Kupper link (scale and η) |
| three_way | plain sequence classification with three labels over [prompt, A, B], by Transformers' Trainer |
| separate, joint | ours without the style head |
| separate_style, joint_style | ours with it |

TRL drops rows longer than max_length; here it gets rows that were cut for it, the same as ours. Its link is fitted on the
calibration split, on which all the others are calibrated too (`reward_model.calibration.calibration`, method auto).
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.leaderboard.results import interval
from reward_model.evaluation.probabilities import row_losses

SYSTEMS = ("prior", "trl", "three_way", "separate", "joint", "separate_style", "joint_style")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", nargs="+", required=True, help="labelled battles")
    parser.add_argument("--output_dir", default="runs/comparison", help="where finished folds are kept")
    parser.add_argument("--model_name_or_path", default="models/minilm")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--num_folds", type=int, default=5)
    parser.add_argument("--max_length", type=int, default=256, help="of one side; a joint row may have twice as many")
    parser.add_argument("--num_train_epochs", type=float, default=2, help="of the separate encoding; sets the tokens")
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--batch_tokens", type=int, default=4096)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16, for every system")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="folds at once")
    parser.add_argument("--one", nargs=2, metavar=("SYSTEM", "FOLD"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.one:
        from benchmarks.leaderboard.peers import run_fold  # slow to import: only where it is needed

        run_fold(options, options.one[0], int(options.one[1]), result_file(options, *options.one))
        return
    jobs = [(system, str(fold)) for fold in range(options.num_folds) for system in options.systems]
    waiting = [job for job in jobs if not result_file(options, *job).exists()]
    with ThreadPoolExecutor(options.processes) as pool, tqdm(total=len(waiting), desc="Folds", unit="fold") as bar:
        for failed in pool.map(lambda job: run_process(options, job), waiting):
            bar.update()
            if failed:
                tqdm.write(failed, file=sys.stderr)
    print(table(options))


def result_file(options: argparse.Namespace, system: str, fold: str) -> Path:
    """Its name says all that a result depends on, apart from the code."""
    settings = (
        f"{Path(options.model_name_or_path).name}-{len(options.train_file)}files-{options.max_length}tokens-"
        f"{options.num_train_epochs:g}epochs-{options.learning_rate:g}-{'bf16' if options.bf16 else 'fp32'}-"
        f"seed{options.seed}"
    )
    return Path(options.output_dir) / settings / f"{system}-{fold}of{options.num_folds}.npz"


def run_process(options: argparse.Namespace, job: tuple[str, str]) -> str:
    """Runs one fold in a process of its own; returns what went wrong, or nothing."""
    threads = max(1, (os.cpu_count() or 1) // options.processes)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.leaderboard.comparison", *sys.argv[1:], "--one", *job],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{' '.join(job)} failed:\n{done.stderr[-2000:]}" if done.returncode else ""


def table(options: argparse.Namespace) -> str:
    """Markdown: mean log loss over all held-out battles, with 95 % intervals from a bootstrap over prompts."""
    rows, peers = [], {}
    for system in options.systems:
        files = [result_file(options, system, str(fold)) for fold in range(options.num_folds)]
        if not all(file.exists() for file in files):
            rows.append(f"| {system} | not finished | | | | |")
            continue
        folds = [np.load(file) for file in files]
        names = ("raw", "calibrated", "verdicts", "groups", "index")
        raw, calibrated, verdicts, groups, index = (np.concatenate([fold[name] for fold in folds]) for name in names)
        order = np.argsort(index)
        found = {
            name: row_losses(values, verdicts)[order] for name, values in (("raw", raw), ("calibrated", calibrated))
        }
        right = (calibrated.argmax(axis=1) == verdicts.argmax(axis=1))[order]
        peers[system] = found["calibrated"]
        columns = [interval(found[name], groups[order], options.seed) for name in ("raw", "calibrated")]
        against = (
            interval(found["calibrated"] - peers["trl"], groups[order], options.seed)
            if "trl" in peers and system != "trl"
            else ""
        )
        tokens = float(np.mean([fold["tokens"] for fold in folds]))
        rows.append(
            f"| {system} | {columns[0]} | {columns[1]} | {against} | {right.mean():.3f} | {tokens / 1e3:,.0f} k |"
        )
    head = "| system | log loss | calibrated | calibrated, less TRL's | accuracy | tokens in training |"
    return "\n".join([head, "| --- | --- | --- | --- | --- | --- |", *rows])


if __name__ == "__main__":
    main()
