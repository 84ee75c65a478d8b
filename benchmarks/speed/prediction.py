"""How fast battles are scored, side by side: `python -m benchmarks.speed.prediction --model models/minilm --input F`.

Every system scores the same battles with the same weights, dtype, threads and max_length, from texts to one score a
response, each in a process of its own, in turns. Loading is not counted; tokenising and cutting is.

| system | what it is |
| --- | --- |
| notebook | the public notebooks' way: `padding="max_length"`, a fixed batch, rows in the order of the file |
| pipeline | Transformers' text-classification pipeline, padding each batch to its longest row |
| cross_encoder | sentence-transformers' `CrossEncoder.predict`, which sorts by length |
| ours | `reward_model.predict.predictor.Predictor`, as `predict.py` runs it |

Share: of the matrix-multiply rate (2048 cubed, same dtype) measured in the same process, before and after. Work is counted
as each text read by itself without padding: 2 operations a weight and token, and attention. Battles a core-second (CPU
time of all threads) hardly depend on what else the machine does; with `--threads 1` no thread waits for another.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

SYSTEMS = ("notebook", "pipeline", "cross_encoder", "ours")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory or Hub id of a backbone; its head is made up")
    parser.add_argument("--input", required=True, help="battles")
    parser.add_argument("--battles", type=int, default=200, help="how many, spread over the file")
    parser.add_argument("--max_length", type=int, default=512)
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--batch_size", type=int, default=8, help="of notebook and pipeline")
    parser.add_argument("--cross_encoder_batch_size", type=int, default=32, help="32 is its default")
    parser.add_argument("--batch_tokens", type=int, help="of ours; found for the device if not given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--output_dir", default="runs/prediction_benchmark", help="where the run directory is made")
    parser.add_argument("--one", choices=("run", *SYSTEMS), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.one:
        from benchmarks.speed.prediction_systems import main_of_one  # slow to import: only where it is needed

        print(json.dumps(main_of_one(options)))
        return
    run_process(options, "run")
    found: dict[str, list[dict[str, float]]] = {system: [] for system in options.systems}
    turns = [(turn, system) for turn in range(options.repeats) for system in options.systems]
    for _, system in tqdm(turns, desc="Runs", unit="run"):
        found[system].append(run_process(options, system))
    print(table(options, found))


def run_process(options: argparse.Namespace, one: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.prediction", *sys.argv[1:], "--one", one],
        env={**os.environ, "OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{one} failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def table(options: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: medians over the repeats, ranges of the speed; ratios of each turn, since a machine's speed drifts."""
    lines = [
        f"{Path(options.model).name}, {options.battles} battles, max_length {options.max_length}, {options.dtype}, "
        f"{options.threads} threads, {options.repeats} turns",
        "",
        "| system | battles/s (range) | ours is faster by | a core-second | by | share of matmul rate | peak memory, GB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for system, runs in found.items():
        speeds = [run["battles_per_second"] for run in runs]
        columns = []
        for name in ("battles_per_second", "battles_per_core_second"):
            ratios = [our[name] / run[name] for our, run in zip(found.get("ours", []), runs, strict=False)]
            columns.append(f"{statistics.median(ratios):.2f} x" if ratios and system != "ours" else "")
        core, share, memory = (
            statistics.median(run[name] for run in runs) for name in ("battles_per_core_second", "share", "memory_gb")
        )
        lines.append(
            f"| {system} | {statistics.median(speeds):.2f} ({min(speeds):.2f} to {max(speeds):.2f}) | {columns[0]} | "
            f"{core:.2f} | {columns[1]} | {share:.1%} | {memory:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
