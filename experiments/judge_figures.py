"""A judge's figures: at home in five folds, by source and language; away from home; what sways it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import datasets
import numpy as np
from scipy.special import log_softmax

from arena_data.style.languages import guess_languages
from benchmarks.leaderboard.results import bounds
from experiments.judge_sources import SOURCES
from reward_model.audit.audit import audit
from reward_model.baselines.base import FloatArray, verdicts_of
from reward_model.evaluation.metrics import measure
from reward_model.evaluation.probabilities import log_loss, row_losses

NAMES = ("log_loss", "accuracy", "brier_score", "top_label_calibration_error")
LEAST = 30  # battles of a language or a source that has a figure of its own
RESAMPLES = 1000


class Home(NamedTuple):
    """Battles with verdicts and groups, out-of-fold predictions of them, float64 [n, 3], and the prior float64 [3]."""

    battles: datasets.Dataset
    verdicts: FloatArray
    groups: np.ndarray
    log_probs: FloatArray
    prior: FloatArray


class Figured(NamedTuple):
    """Battles from elsewhere, and predictions of them by a judge that has not learned from their source."""

    battles: datasets.Dataset
    log_probs: FloatArray


def figures_of(
    home: Home,
    elsewhere: Mapping[str, Figured],
    predict: Callable[[datasets.Dataset], FloatArray],
    audited: int,
) -> dict[str, Any]:
    """Of JSON's own types. predict: the judge's probabilities of changed battles, for the audit."""
    measured = measure(home.log_probs, home.verdicts, home.groups.tolist(), NAMES, RESAMPLES)
    columns = (home.battles[name] for name in ("prompt", "response_a", "response_b"))
    languages = np.asarray(guess_languages(*columns))
    return {
        "battles": len(home.battles),
        "folds": 5,
        **{name: figure.to_json() for name, figure in measured.items()},
        "class_prior_log_loss": log_loss(np.tile(np.log(home.prior), (len(home.verdicts), 1)), home.verdicts),
        "prior": home.prior.tolist(),
        "by_source": parts(home, np.asarray(list(home.battles["source"]))),
        "by_language": parts(home, languages),
        "elsewhere": [told(name, figured, home.prior) for name, figured in elsewhere.items()],
        "bias": bias(home, predict, audited),
    }


def parts(home: Home, part: np.ndarray) -> list[dict[str, Any]]:
    """The log loss of each part that is large enough, the largest first."""
    names, counts = np.unique(part, return_counts=True)
    prior = np.tile(np.log(home.prior), (len(part), 1))
    rows = []
    for name, count in sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda one: -one[1]):
        chosen = part == name
        if count >= LEAST:
            losses = row_losses(home.log_probs[chosen], home.verdicts[chosen])
            before = row_losses(prior[chosen], home.verdicts[chosen])
            rows.append({"name": name, "battles": count, **against_prior(losses, before, home.groups[chosen])})
    return rows


def told(name: str, figured: Figured, prior: FloatArray) -> dict[str, Any]:
    """What the judge is worth elsewhere; where no tie was recorded, given that there is none."""
    verdicts, log_probs = verdicts_of(figured.battles), figured.log_probs
    before = np.tile(np.log(prior), (len(verdicts), 1))
    ties = bool(verdicts[:, 2].any())
    if not ties:
        given = np.array([0.0, 0.0, -1e9])
        log_probs, before = log_softmax(log_probs + given, axis=1), log_softmax(before + given, axis=1)
    groups = np.asarray(list(figured.battles["group"]))
    losses, prior_losses = row_losses(log_probs, verdicts), row_losses(before, verdicts)
    about = SOURCES[name]
    return {
        "name": about.title,
        "year": about.year,
        "battles": len(verdicts),
        "ties": ties,
        **against_prior(losses, prior_losses, groups),
    }


def against_prior(losses: FloatArray, prior_losses: FloatArray, groups: np.ndarray) -> dict[str, Any]:
    low, high = bounds(losses - prior_losses, groups)
    return {
        "log_loss": float(losses.mean()),
        "prior": float(prior_losses.mean()),
        "less_prior": {"value": float((losses - prior_losses).mean()), "low": low, "high": high},
    }


def bias(home: Home, predict: Callable[[datasets.Dataset], FloatArray], audited: int) -> list[dict[str, Any]]:
    """What each change of the audit alone does to the changed response's win share."""
    figures = audit(home.battles, home.log_probs, predict, audited, progress=False)
    changed = [one for family in ("verbosity", "formatting", "self_promotion") for one in figures[family]["changed"]]
    return [{"label": one["label"], "battles": one["battles"], **one["win_share"]} for one in changed]
