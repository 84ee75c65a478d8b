"""The coverage of verdict sets on real predictions, and where it is lower: `python -m benchmarks.verdict_sets`.

First: of ../shared/data/predictions/arena_heldout.csv, battles are set apart at random for calibration, and the sets of
the rest are compared with their verdicts, over many draws. The map and the thresholds come from the same battles, as at
the end of a training run. Then: coverage by length and language of ../shared/data/arena, predicted by systems
fitted on the other folds.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from arena_data.loading import load_battles
from arena_data.style.languages import languages_of
from benchmarks.calibration import read_predictions
from reward_model.baselines.base import verdicts_of
from reward_model.baselines.peers import cross_fitted
from reward_model.calibration.calibration import fit
from reward_model.calibration.verdict_sets import measure_sets, set_thresholds, verdict_sets

ARENA = Path(__file__).parents[2] / "shared" / "data" / "arena"
SIZES, PERCENTS = (200, 500, 2000), ("80", "90")
LENGTHS = ("short", "medium", "long")


def coverage_of_resamples(resamples: int) -> None:
    """Prints the mean coverage, its spread over the draws, and the mean number of labels in a set."""
    log_probs, verdicts = read_predictions()
    print("model, map, calibration battles, asked, covered, spread of a draw, labels a set")
    for model in ("llm", "lexical"):
        for method in ("none", "temperature", "parity_affine"):
            for size in SIZES:
                figures: dict[str, list[tuple[float, float]]] = {percent: [] for percent in PERCENTS}
                for seed in tqdm(range(resamples), desc=f"{model} {method} {size}"):
                    order = np.random.default_rng(seed).permutation(len(verdicts))
                    kept, rest = order[:size], order[size:]
                    fitted = fit(log_probs[model][kept], verdicts[kept], method=method, seed=seed)
                    mapped = fitted.apply(log_probs[model][rest])
                    for percent, draws in figures.items():
                        sets = verdict_sets(mapped, fitted.set_thresholds[percent])
                        draws.append(((sets * verdicts[rest]).sum(axis=1).mean(), sets.sum(axis=1).mean()))
                for percent, draws in figures.items():
                    covered, labels = np.array(draws).T
                    line = f"{covered.mean():.4f}, {covered.std():.4f}, {labels.mean():.2f}"
                    print(f"{model}, {method}, {size}, 0.{percent}, {line}", flush=True)


def coverage_by_slice(percent: str, draws: int) -> None:
    """Prints coverage by thirds of length and by language, of half of the battles, calibrated on the other half."""
    battles = load_battles([ARENA / "train.csv", ARENA / "extra.jsonl"], labels="required")
    verdicts = verdicts_of(battles)
    [log_probs] = cross_fitted(battles, {"style alone": "style"}).values()
    sides = zip(battles["response_a"][:], battles["response_b"][:], strict=True)
    sizes = np.array([sum(map(len, [*a, *b])) for a, b in sides])
    third = np.searchsorted(np.quantile(sizes, [1 / 3, 2 / 3]), sizes)
    spoken = languages_of(battles)[0]
    groups = np.array(battles["group"][:])
    prompts = np.unique(groups)
    # Every battle is judged in about half of the draws; its sets then count together.
    parts = []
    for seed in range(draws):
        chosen = np.random.default_rng(seed).permutation(prompts)[: len(prompts) // 2]
        kept = np.isin(groups, chosen)
        thresholds = set_thresholds(log_probs[kept], verdicts[kept], groups[kept].tolist())
        parts.append((np.flatnonzero(~kept), verdict_sets(log_probs[~kept], thresholds[percent])))
    rows = np.concatenate([rows for rows, _ in parts])
    slices = {
        "length": [LENGTHS[third[row]] for row in rows],
        "language": ["English" if spoken[row] == "English" else "other" for row in rows],
    }
    sets = np.concatenate([sets for _, sets in parts])
    for line in measure_sets(sets, verdicts[rows], groups[rows].tolist(), slices):
        covered, size = line["coverage"], line["size"]
        interval = f"{covered['value']:.3f} ({covered['low']:.3f} to {covered['high']:.3f})"
        print(f"{line['slice']} {line['name']}: {interval}, {size['value']:.2f} labels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=200)
    options = parser.parse_args()
    coverage_by_slice("90", 20)
    coverage_of_resamples(options.resamples)


if __name__ == "__main__":
    main()
