"""What calibration and blending are worth on real held-out predictions: `python -m benchmarks.calibration`.

../shared/data/predictions/arena_heldout.csv holds three models' probabilities of 7,180 battles that none of them was trained
on. Of each split, one half is for testing and the other for fitting: its first 500, 2,000 or 3,500 rows. Prints the mean
log loss over the splits of every map and of every blend, by the number of fitting rows, and whether

- `auto` is at most 0.0005 above the best single map on average;
- `auto` is in no split more than 0.001 above no calibration.

The rows are one finite set, so a test half mirrors its fitting half: where one has more ties than all rows have, the other
has fewer. That makes every fit look slightly worse than it is, most of all at 3,500 rows.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from reward_model.calibration.blending import POOLINGS, fit_blend
from reward_model.calibration.calibration import fit
from reward_model.calibration.maps import METHODS, SWAP_EXACT
from reward_model.evaluation.probabilities import log_loss

HELD_OUT = Path(__file__).parents[2] / "shared" / "data" / "predictions" / "arena_heldout.csv"
MODELS = ("llm", "lexical", "embedding")
BLENDS = (("llm", "lexical"), ("llm", "embedding"), ("llm", "lexical", "embedding"))
SIZES = (500, 2000, 3500)
ALLOWED_OVER_BEST, ALLOWED_OVER_NONE = 0.0005, 0.001

Losses = dict[tuple[str, str, int], list[float]]  # model, map or pooling, fitting rows: one a split


def read_predictions() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Log-probabilities by model, float64 [n, 3] each, and verdicts, float64 [n, 3]."""
    with open(HELD_OUT, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = ("a", "b", "tie")
    log_probs = {m: np.log([[float(row[f"{m}_{v}"]) for v in columns] for row in rows]) for m in MODELS}
    return log_probs, np.eye(3)[[int(row["label"]) for row in rows]]


def measure(splits: int, sizes: tuple[int, ...]) -> Losses:
    """Every map of every model and every blend, on every split."""
    log_probs, verdicts = read_predictions()
    losses: Losses = {}
    for seed, rows in ((seed, rows) for seed in tqdm(range(splits), unit="split") for rows in sizes):
        order = np.random.default_rng(seed).permutation(len(verdicts))
        half = len(verdicts) // 2
        seen, fresh = order[:half][:rows], order[half:]
        for model in MODELS:
            for method in (*METHODS, "auto"):
                fitted = fit(log_probs[model][seen], verdicts[seen], method=method, seed=seed)
                mapped = fitted.apply(log_probs[model][fresh])
                losses.setdefault((model, method, rows), []).append(log_loss(mapped, verdicts[fresh]))
        for members in BLENDS:
            expected = {}
            for pooling in POOLINGS:
                members_seen = [log_probs[model][seen] for model in members]
                blend = fit_blend(members_seen, verdicts[seen], pooling=pooling, seed=seed, resamples=0)
                found = log_loss(blend.apply([log_probs[model][fresh] for model in members]), verdicts[fresh])
                losses.setdefault((" + ".join(members), pooling, rows), []).append(found)
                expected[blend.log_loss[pooling]] = found
            # What `auto` would have taken: the pooling of lower log loss in cross-validation.
            losses.setdefault((" + ".join(members), "auto", rows), []).append(expected[min(expected)])
    return losses


def table(losses: Losses, sizes: tuple[int, ...]) -> str:
    """Markdown: the mean log loss of each model and map by the number of fitting rows."""
    lines = [
        f"| model | map | {' | '.join(f'{rows:,} rows' for rows in sizes)} |",
        f"| --- | --- |{' --- |' * len(sizes)}",
    ]
    for model, method in dict.fromkeys((model, method) for model, method, _ in losses):
        means = [f"{np.mean(losses[model, method, rows]):.4f}" for rows in sizes]
        name = f"{method} *" if method in METHODS and method not in SWAP_EXACT else method
        lines.append(f"| {model} | {name} | {' | '.join(means)} |")
    return "\n".join([*lines, "", "\\* treats A and B differently: a swap-exact model is swap-exact no more."])


def verdict(losses: Losses, sizes: tuple[int, ...]) -> str:
    """Markdown: the two targets, by model and number of fitting rows."""
    lines = [
        "| model | rows | auto over the best map, mean | auto over none, worst split | met |",
        "| --- | --- | --- | --- | --- |",
    ]
    for model in MODELS:
        for rows in sizes:
            auto = np.array(losses[model, "auto", rows])
            over_best = auto.mean() - min(np.mean(losses[model, method, rows]) for method in METHODS)
            over_none = (auto - losses[model, "none", rows]).max()
            met = [over_best <= ALLOWED_OVER_BEST, over_none <= ALLOWED_OVER_NONE]
            words = " and ".join("yes" if good else "no" for good in met)
            lines.append(f"| {model} | {rows:,} | {over_best:+.5f} | {over_none:+.5f} | {words} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), metavar="N", help="fitting rows")
    options = parser.parse_args()
    if not HELD_OUT.is_file():
        parser.error(f"{HELD_OUT} is not there")
    start = time.perf_counter()
    sizes = tuple(options.rows)
    losses = measure(options.splits, sizes)
    print(table(losses, sizes), verdict(losses, sizes), sep="\n\n")
    print(f"\n{options.splits} splits, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
