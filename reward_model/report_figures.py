"""The report's numbers, from predictions and verdicts: how good, how well calibrated, where it errs, what surprised it.

Everything is a plain number for JSON, with intervals that are bootstrapped over prompts (`reward_model.resampling`).
Soft verdicts count by their fractions.
"""

from collections import Counter
from typing import Any

import datasets
import numpy as np
from scipy.stats import kendalltau, rankdata

from arena_data.ranking import ELO_PER_LOGIT, rank_models
from arena_data.schema import LABELS
from reward_model.audit_language import SHOWN, languages_of
from reward_model.report_data import PRIOR, ReportData
from reward_model.resampling import Resampling

Figures = dict[str, Any]

BINS = 10
_LEAST_IN_BIN = 20
SURPRISING = 20
PAIRS_SHOWN = 15
LENGTH_GROUPS = 5
_FLOOR = float(np.log(1e-15))  # as scikit-learn's log_loss clips


def losses(log_probs: np.ndarray, verdicts: np.ndarray) -> np.ndarray:
    """float64 [n]: cross-entropy of each battle, in nats."""
    return -(verdicts * np.maximum(np.asarray(log_probs, np.float64), _FLOOR)).sum(axis=1)


def describe_quality(data: ReportData, drawn: Resampling) -> Figures:
    """Log loss, accuracy, Brier score, ties, and A against B; log loss of the peers and what the model gains on them."""
    verdicts, probabilities = data.verdicts, np.exp(np.asarray(data.log_probs, np.float64))
    own = losses(data.log_probs, verdicts)
    peers = {}
    for name, log_probs in data.peers.items():
        theirs = losses(log_probs, verdicts)
        peers[name] = {"log_loss": drawn.mean(theirs), "gain": drawn.mean(theirs - own)}
    raw = None
    if data.log_probs_raw is not None:
        before = losses(data.log_probs_raw, verdicts)
        raw = {"log_loss": drawn.mean(before), "gain": drawn.mean(before - own)}
    return {
        "log_loss": drawn.mean(own),
        "accuracy": drawn.mean(verdicts[np.arange(len(own)), probabilities.argmax(axis=1)]),
        "brier_score": drawn.mean(((probabilities - verdicts) ** 2).sum(axis=1)),
        "auc_a_against_b": _auc(probabilities, verdicts),
        "tie_predicted": drawn.mean(probabilities[:, 2]),
        "tie_seen": drawn.mean(verdicts[:, 2]),
        "before_calibration": raw,
        "peers": peers,
    }


def _auc(probabilities: np.ndarray, verdicts: np.ndarray) -> float | None:
    """How often the margin of a battle that A won is above that of one that B won; soft verdicts weigh by fractions."""
    margin = probabilities[:, 0] - probabilities[:, 1]
    won, lost = verdicts[:, 0], verdicts[:, 1]
    if not won.sum() or not lost.sum():
        return None
    place = rankdata(margin, method="dense") - 1
    below = np.bincount(place, lost)
    wins = np.bincount(place, won)
    return float((wins * (np.cumsum(below) - below / 2)).sum() / (won.sum() * lost.sum()))


def describe_calibration(data: ReportData, drawn: Resampling) -> Figures:
    """Reliability of each verdict before and after calibration: bins of about equal size, and the error over them."""
    verdicts = data.verdicts
    stages = {"after": data.log_probs} | ({} if data.log_probs_raw is None else {"before": data.log_probs_raw})
    return {
        stage: {
            label: _reliability(np.exp(np.asarray(log_probs, np.float64))[:, place], verdicts[:, place], drawn)
            for place, label in enumerate(LABELS)
        }
        for stage, log_probs in stages.items()
    }


def _reliability(predicted: np.ndarray, seen: np.ndarray, drawn: Resampling) -> Figures:
    bins = int(np.clip(len(predicted) // _LEAST_IN_BIN, 1, BINS))
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
    bin_of_battle = np.searchsorted(edges, predicted, side="right")
    rows = []
    for number in np.unique(bin_of_battle):
        inside = bin_of_battle == number
        rows.append({"predicted": float(predicted[inside].mean()), "seen": drawn.mean(seen, inside)})
    gaps = [row["seen"]["battles"] * abs(row["predicted"] - row["seen"]["value"]) for row in rows]
    return {"bins": rows, "error": float(sum(gaps) / len(predicted))}


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


def describe_slices(data: ReportData, drawn: Resampling) -> dict[str, list[Figures]]:
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
                "log_loss": drawn.mean(own, inside),
                "gain": None if gain is None else drawn.mean(gain, inside),
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
    ordered = [name for name, _ in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))]
    groups = [(name, array == name) for name in ordered[:shown]]
    if rest := ordered[shown:]:
        groups.append((f"{len(rest)} others", np.isin(array, np.array(rest, dtype=object))))
    return groups


def _pairs(battles: datasets.Dataset) -> list[tuple[str, np.ndarray]]:
    """The most compared pairs of models, either way round; none where models are not named."""
    names = [
        None if a is None or b is None else " – ".join(sorted((a, b)))
        for a, b in zip(battles["model_a"], battles["model_b"], strict=True)
    ]
    array = np.array(names, dtype=object)
    counts = Counter(name for name in names if name is not None)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(name, array == name) for name, _ in ordered[:PAIRS_SHOWN]]


def describe_ranking(data: ReportData) -> Figures | None:
    """Strength of the models by verdicts and by predictions, Elo; None where fewer than two models are named."""
    sides = [data.battles["model_a"], data.battles["model_b"]]
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


