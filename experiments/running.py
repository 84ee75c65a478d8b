"""Runs what is not done: one fold of one arm at a time, kept in a folder named by all that its result depends on.

    OUTPUT_DIR/{hash}/{fold}of5.npz     `benchmarks.leaderboard.results.Predictions`; `about` says in words what the
    hash is of OUTPUT_DIR/embeddings/              vectors of frozen backbones,
    `reward_model.baselines.regression.embeddings`

Battles, folds, calibration and the systems themselves are those of the leaderboard.
"""

import argparse
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
from tqdm import tqdm

from arena_data.file_io import fingerprint
from arena_data.splits.folds import deal, strata_of, training_split
from benchmarks.leaderboard.__main__ import extra_battles
from benchmarks.leaderboard.results import Predictions, file_of, joined
from benchmarks.leaderboard.systems import System, placed_battles, run_baseline, train_files
from experiments.questions import Arm
from experiments.variants import variant_or_baseline
from reward_model.baselines.regression.frozen import Frozen
from reward_model.evaluation.probabilities import row_losses

FOLDS = 5
Parts = dict[str, datasets.Dataset]


class Bench:
    """Battles, and the results on them that are kept in a folder. data_dir: with the folders arena/ and other/."""

    def __init__(self, data_dir: Path, output_dir: Path):
        self.data_dir, self.output_dir = data_dir, output_dir

    @functools.cached_property
    def battles(self) -> datasets.Dataset:
        """Each once, with its place. Raises: InputError for battles that cannot be read."""
        return placed_battles(train_files(self.data_dir))

    def run(self, arms: Sequence[Arm], seeds: Sequence[int], battles: int | None = None, rerun: bool = False) -> None:
        """Makes every fold that is not there. Raises: ValueError where a system cannot be trained; it says why."""
        jobs = [(arm, seed, fold) for seed in seeds for arm in arms for fold in range(FOLDS)]
        jobs = [job for job in jobs if rerun or not self._done(*job, battles)]
        with tqdm(jobs, desc="Folds", unit="fold", disable=not jobs) as bar:
            for arm, seed, fold in bar:
                bar.set_postfix_str(f"{arm.name} seed {seed} fold {fold + 1}/{FOLDS}")
                parts = training_split(self.battles, num_folds=FOLDS, fold=fold, seed=seed)
                if battles is not None:
                    parts = fewer(parts, battles)
                made = arm.made_by(seed, self.fingerprint(arm), battles)
                found = self._run_baseline(arm, parts) if arm.kind else self._run_own(arm, parts, fold, seed)
                found.about = json.loads(json.dumps(made))
                found.write(self._file(arm, seed, fold, battles))

    def read(self, arm: Arm, seeds: Sequence[int], battles: int | None = None) -> list[list[Predictions]] | None:
        """For each seed, the folds in order; None where one is not there."""
        if not all(self._done(arm, seed, fold, battles) for seed in seeds for fold in range(FOLDS)):
            return None
        return [[Predictions.read(self._file(arm, seed, fold, battles)) for fold in range(FOLDS)] for seed in seeds]

    def fingerprint(self, arm: Arm) -> str:
        """Of our battles and the arm's extra ones."""
        sets = [self.battles, extra_battles(self.data_dir, arm.extra)]
        return "-".join(_fingerprint(battles) for battles in sets if battles is not None)

    def _run_baseline(self, arm: Arm, parts: Parts) -> Predictions:
        baseline = variant_or_baseline(arm.kind)(**arm.options)
        if isinstance(baseline, Frozen):
            baseline.embedder.cache_dir = self.output_dir / "embeddings"
        return run_baseline(baseline, parts, extra_battles(self.data_dir, arm.extra), {})

    def _run_own(self, arm: Arm, parts: Parts, fold: int, seed: int) -> Predictions:
        from benchmarks.leaderboard.ours import run_our_fold  # slow to import: only where it is needed

        flags = ("--split_seed", str(seed), "--seed", str(seed), *arm.flags)
        system = System("", flags=flags, neural=True)
        options = argparse.Namespace(data_dir=self.data_dir, num_folds=FOLDS, **arm.budget)
        return run_our_fold(system, options, parts, fold)

    def _file(self, arm: Arm, seed: int, fold: int, battles: int | None) -> Path:
        made = arm.made_by(seed, self.fingerprint(arm), battles)
        return file_of(self.output_dir, fingerprint(**made), fold, FOLDS)

    def _done(self, arm: Arm, seed: int, fold: int, battles: int | None) -> bool:
        return self._file(arm, seed, fold, battles).exists()


def fewer(parts: Parts, battles: int) -> Parts:
    """So many battles in training and calibration together, in the same proportion; smaller sets lie within larger ones."""
    whole = len(parts["train"]) + len(parts["calibration"])
    found = dict(parts)
    for name in ("train", "calibration"):
        part = parts[name]
        # Dealt to a hundred hands, balanced in verdicts, and hand after hand taken up.
        hand = deal(part["group"], strata_of(part), [1.0] * min(100, len(set(part["group"]))))
        order = np.argsort(hand, kind="stable")
        found[name] = part.select(np.sort(order[: round(len(part) * battles / whole)]))
    return found


def losses_of(found: Sequence[Sequence[Predictions]]) -> tuple[np.ndarray, Predictions]:
    """float64 [n]: each battle's log loss, the mean over seeds; and the folds of the first seed as one."""
    each = [joined(folds) for folds in found]
    return np.mean([row_losses(one.calibrated, one.verdicts) for one in each], axis=0), each[0]


@functools.lru_cache
def _fingerprint(battles: datasets.Dataset) -> str:
    return fingerprint(**{name: list(battles[name]) for name in ("group", "verdict", "source")})
