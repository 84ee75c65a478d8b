"""From files of battles to a baseline's directory: split, fit, calibrate, measure, save."""

import argparse
import sys
import time
from typing import Any

import datasets
import numpy as np

from arena_data.containers.limit_flags import limits_of
from arena_data.errors import InputError
from arena_data.splits.extra_battles import read_extra_battles
from arena_data.splits.training_parts import read_training_split
from reward_model.baselines.base import Baseline, FloatArray, verdicts_of
from reward_model.baselines.classical.lengths import side_free
from reward_model.calibration import calibration
from reward_model.evaluation.metrics import measure
from reward_model.evaluation.probabilities import log_loss

MEASURED = ("log_loss", "accuracy", "brier_score", "top_label_calibration_error")


def train(baseline: Baseline, options: argparse.Namespace) -> dict[str, Any]:
    """Trains, saves, and returns the held-out figures. Raises: InputError or ValueError for input that is wrong."""
    if options.extra_file and not baseline.takes_extra:
        raise InputError(
            f"the kind {baseline.kind!r} cannot learn from battles of other sources", fix="drop --extra_file"
        )
    limits = limits_of(options.read_limits)
    parts = read_training_split(
        options.train_file,
        options.eval_file,
        limits=limits,
        validation_share=options.validation_share,
        calibration_share=options.calibration_share,
        num_folds=options.num_folds,
        fold=options.fold,
        seed=options.split_seed,
    )
    extra = None
    if options.extra_file:
        more, kept = read_extra_battles(options.extra_file, parts["validation"], parts["calibration"], limits=limits)
        extra = more.select(kept)
    print(", ".join(f"{name}: {len(part):,} battles" for name, part in parts.items()), file=sys.stderr)
    if graded := sum(strength is not None for strength in parts["train"]["strength"]):
        print(f"grades of {graded:,} battles are not used: a baseline learns from verdicts", file=sys.stderr)
    started = time.perf_counter()
    baseline.fit(parts["train"], extra)
    seconds = time.perf_counter() - started
    fitted = calibrate(baseline, parts["calibration"])
    verdicts = verdicts_of(parts["validation"])
    log_probs = baseline.log_probabilities(parts["validation"])
    prior = side_free(verdicts_of(parts["train"]).mean(axis=0))
    metrics = {
        **figures(fitted.apply(log_probs), verdicts),
        "log_loss_uncalibrated": log_loss(log_probs, verdicts),
        "class_prior_log_loss": log_loss(np.tile(np.log(prior), (len(verdicts), 1)), verdicts),
        "battles": len(verdicts),
        "train_battles": len(parts["train"]),
        "train_seconds": round(seconds, 3),
        "links": parts.links.to_json(),
    }
    baseline.save(options.output_dir, fitted, metrics)
    return metrics


def calibrate(baseline: Baseline, battles: datasets.Dataset) -> calibration.Calibration:
    """The map that battles which training has not seen ask for."""
    log_probs, method = baseline.log_probabilities(battles), baseline.calibration_method
    return calibration.fit(log_probs, verdicts_of(battles), list(battles["group"]), method=method)


def figures(log_probs: FloatArray, verdicts: FloatArray) -> dict[str, float | None]:
    """Held-out figures by the names of `reward_model.evaluation.metrics`, without intervals; None where there are
    too few battles."""
    measured = measure(log_probs, verdicts, names=MEASURED, resamples=0)
    return {name: figure.to_json()["value"] for name, figure in measured.items()}
