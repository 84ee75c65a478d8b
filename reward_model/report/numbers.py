"""The report's numbers, from predictions and verdicts: how good, how well calibrated, where it errs, what surprised it.

Everything is a plain number for JSON, with intervals that are bootstrapped over prompts
(`reward_model.evaluation.resampling`). Soft verdicts count by their fractions.
"""

from collections import Counter
from typing import Any

import datasets
import numpy as np
from scipy.special import log_softmax
from scipy.stats import kendalltau, rankdata

from arena_data.exploration.ranking import ELO_PER_LOGIT, rank_models
from arena_data.schema import LABELS
from arena_data.style.languages import languages_of
from reward_model.audit.languages import SHOWN
from reward_model.audit.observed import LEAST_BATTLES
from reward_model.evaluation.probabilities import check_log_probs, row_losses
from reward_model.evaluation.quality import quality
from reward_model.evaluation.reliability import equal_bins
from reward_model.evaluation.resampling import Resampling
from reward_model.report.data import PRIOR, ReportData

Figures = dict[str, Any]

BINS = 10
_LEAST_IN_BIN = 20
SURPRISING = 20
PAIRS_SHOWN = 15
LENGTH_GROUPS = 5
BEFORE = "before calibration"
CALIBRATION_ERRORS = ("top_label_calibration_error", "classwise_calibration_error")


def losses(log_probs: np.ndarray, verdicts: np.ndarray) -> np.ndarray:
    """float64 [n]: cross-entropy of each battle, in nats."""
    return row_losses(log_softmax(check_log_probs(log_probs), axis=1), verdicts)


def describe_quality(data: ReportData, resampling: Resampling) -> Figures:
    """Every figure of `reward_model.evaluation.metrics`; ties; log loss before calibration and of the peers, and the
    gain on each."""
    verdicts, groups = data.verdicts, data.groups
    own = losses(data.log_probs, verdicts)
    others = {} if data.log_probs_raw is None else {BEFORE: data.log_probs_raw}
    compared = {}
    for name, log_probs in {**others, **data.peers}.items():
        theirs = losses(log_probs, verdicts)
        compared[name] = {"log_loss": resampling.mean(theirs), "gain": resampling.mean(theirs - own)}
    ties = np.exp(np.asarray(data.log_probs, np.float64))[:, 2]
    return {
        "metrics": quality(data.log_probs, verdicts, groups),
        "tie_predicted": resampling.mean(ties),
        "tie_seen": resampling.mean(verdicts[:, 2]),
        "before_calibration": compared.pop(BEFORE, None),
        "peers": compared,
    }


def best_peer(quality: Figures) -> tuple[str, Figures] | None:
    """Name and figures of the peer with the lowest log loss: the one that a headline's gain is over; None without peers."""
    return min(quality["peers"].items(), key=lambda item: item[1]["log_loss"]["value"], default=None)


def changed_rows(audit: Figures) -> list[Figures]:
    """Every change of text that was tried on a battle."""
    families = ("verbosity", "formatting", "self_promotion")
    return [row for family in families for row in audit[family]["changed"] if row["battles"]]


def points_in_place(curve: list[Figures]) -> int:
    """How many points of reliability curves hold the predicted share in their interval; those without one count."""
    return sum(
        row["seen"]["low"] is None or row["seen"]["low"] <= row["predicted"] <= row["seen"]["high"] for row in curve
    )


def describe_calibration(data: ReportData, resampling: Resampling) -> Figures:
    """Reliability curves of each verdict, and calibration errors, after calibration and, where there was one, before."""
    verdicts, groups = data.verdicts, data.groups
    stages = {"after": data.log_probs} | ({} if data.log_probs_raw is None else {"before": data.log_probs_raw})
    return {
        stage: {
            "errors": quality(log_probs, verdicts, groups, CALIBRATION_ERRORS),
            "curves": {
                label: _curve(np.exp(np.asarray(log_probs, np.float64))[:, place], verdicts[:, place], resampling)
                for place, label in enumerate(LABELS)
            },
        }
        for stage, log_probs in stages.items()
    }


def _curve(predicted: np.ndarray, seen: np.ndarray, resampling: Resampling) -> list[Figures]:
    """Predicted probability and the share that was seen, in bins of about equal numbers of battles."""
    bin_of_battle = equal_bins(predicted, int(np.clip(len(predicted) // _LEAST_IN_BIN, 1, BINS)))
    bins = [bin_of_battle == number for number in range(bin_of_battle.max() + 1)]
    return [{"predicted": float(predicted[inside].mean()), "seen": resampling.mean(seen, inside)} for inside in bins]


def describe_confusion(data: ReportData) -> Figures:
    """Battles by verdict (rows) and by the model's likeliest verdict (columns), A, B, tie."""
    verdicts, likeliest = data.verdicts, np.asarray(data.log_probs).argmax(axis=1)
    counts = np.stack([verdicts[likeliest == column].sum(axis=0) for column in range(3)], axis=1)
    return {"battles": counts.tolist(), "mean_probability": _mean_probability(data).tolist()}


def _mean_probability(data: ReportData) -> np.ndarray:
    """float64 [3, 3]: what the model gave on average to each verdict (columns) where this one was voted (rows)."""
    verdicts, probabilities = data.verdicts, np.exp(np.asarray(data.log_probs, np.float64))
    voted = verdicts.sum(axis=0)
    return np.divide(verdicts.T @ probabilities, voted[:, None], out=np.zeros((3, 3)), where=voted[:, None] > 0)


def describe_slices(data: ReportData, resampling: Resampling) -> dict[str, list[Figures]]:
    """Log loss, and the gain on the class prior, by length, turns, language, pair of models, truncated or not."""
    own = losses(data.log_probs, data.verdicts)
    gain = losses(data.peers[PRIOR], data.verdicts) - own if PRIOR in data.peers else None
    lengths, turns = _sizes(data.battles)
    languages, _ = languages_of(data.battles)
    groups = {
        "length": _length_groups(lengths),
        "turns": [(name, (turns >= low) & (turns <= high)) for name, low, high in _TURNS],
        "language": _most_frequent(languages, SHOWN),
        "pair": _pairs(data.battles),
    }
    if data.truncated is not None:
        cut = np.asarray(data.truncated, bool)
        groups["truncated"] = [("read whole", ~cut), ("cut to fit", cut)]
    return {
        kind: [
            {
                "name": name,
                "log_loss": resampling.mean(own, inside),
                "gain": None if gain is None else resampling.mean(gain, inside),
            }
            for name, inside in members
            if inside.any()
        ]
        for kind, members in groups.items()
    }


_TURNS = (("one turn", 0, 1), ("2 turns", 2, 2), ("3 turns", 3, 3), ("4 or more turns", 4, np.inf))


def _sizes(battles: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """int64 [n] twice: characters of the longer response, turns of the prompt."""
    longer, turns = [], []
    for batch in battles.select_columns(["prompt", "response_a", "response_b"]).iter(batch_size=1024):
        for prompt, *sides in zip(batch["prompt"], batch["response_a"], batch["response_b"], strict=True):
            turns.append(len(prompt or ()))
            longer.append(max(sum(len(turn or "") for turn in side or ()) for side in sides))
    return np.array(longer, np.int64), np.array(turns, np.int64)


def _length_groups(lengths: np.ndarray) -> list[tuple[str, np.ndarray]]:
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, LENGTH_GROUPS + 1)[1:-1]).astype(int))
    group_of_battle = np.searchsorted(edges, lengths, side="right")
    groups = []
    for number in np.unique(group_of_battle):
        inside = group_of_battle == number
        groups.append((f"{lengths[inside].min():,}–{lengths[inside].max():,}", inside))
    return groups


def _most_frequent(names: list[str], shown: int) -> list[tuple[str, np.ndarray]]:
    array = np.array(names, dtype=object)
    ordered = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    named = [name for name, count in ordered[:shown] if count >= LEAST_BATTLES]
    groups = [(name, array == name) for name in named]
    if rest := [name for name, _ in ordered if name not in named]:
        groups.append((rest[0] if len(rest) == 1 else f"{len(rest)} others", np.isin(array, rest)))
    return groups


def _pairs(battles: datasets.Dataset) -> list[tuple[str, np.ndarray]]:
    """The most compared pairs of models, either way round; none where models are not named."""
    names = [
        None if a is None or b is None else " – ".join(sorted((a, b)))
        for a, b in zip(battles["model_a"][:], battles["model_b"][:], strict=True)
    ]
    array = np.array(names, dtype=object)
    counts = Counter(name for name in names if name is not None)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(name, array == name) for name, _ in ordered[:PAIRS_SHOWN]]


def describe_ranking(data: ReportData) -> Figures | None:
    """Strength of the models by verdicts and by predictions, Elo; None where fewer than two models are named."""
    sides = [data.battles["model_a"][:], data.battles["model_b"][:]]
    named = np.array([a is not None and b is not None and a != b for a, b in zip(*sides, strict=True)], dtype=bool)
    if not named.any():
        return None
    pair = np.array([[name or "" for name in side] for side in sides], dtype=object)[:, named]
    models, places = np.unique(pair, return_inverse=True)
    side_a, side_b = places.reshape(2, -1)
    probabilities = np.exp(np.asarray(data.log_probs, np.float64))
    people = rank_models(side_a, side_b, data.verdicts[named], len(models))
    model = rank_models(side_a, side_b, probabilities[named], len(models))
    battles = np.bincount(places.ravel(), minlength=len(models))
    by_people, by_model = (rankdata(-fit.strength, method="min").astype(int) for fit in (people, model))
    tau = kendalltau(people.strength, model.strength).statistic
    return {
        "kendall_tau": float(tau) if np.isfinite(tau) else None,
        "models": [
            {
                "model": str(models[place]),
                "battles": int(battles[place]),
                "people": _strength(people, place) | {"rank": int(by_people[place])},
                "predicted": _strength(model, place) | {"rank": int(by_model[place])},
            }
            for place in np.lexsort((models, -people.strength))
        ],
    }


def _strength(fit: Any, place: int) -> Figures:
    return {
        name: float(array[place] * ELO_PER_LOGIT)
        for name, array in (("elo", fit.strength), ("low", fit.low), ("high", fit.high))
    }


def describe_surprising(data: ReportData) -> list[Figures]:
    """The battles whose verdict the model gave the least chance, most surprising first. row: from 0."""
    verdicts, probabilities = data.verdicts, np.exp(np.asarray(data.log_probs, np.float64))
    own = losses(data.log_probs, verdicts)
    return [
        {
            "row": int(row),
            "id": data.battles[int(row)]["id"],
            "loss": float(own[row]),
            "verdict": dict(zip(LABELS, verdicts[row].tolist(), strict=True)),
            "predicted": dict(zip(LABELS, probabilities[row].tolist(), strict=True)),
        }
        for row in np.argsort(-own, kind="stable")[:SURPRISING]
    ]
