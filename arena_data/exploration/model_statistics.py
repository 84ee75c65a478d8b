"""Who fought whom and who is stronger: battles per model, pairs, wins and losses, ranking, position by model.

Names are taken as the file gives them. Rows that do not name both models are left out here and counted elsewhere.
A model against itself counts as a battle of that model, but neither as a pair nor as a win, a loss or a tie.
"""

from typing import Any

import numpy as np

from arena_data.exploration.measurements import Measurements
from arena_data.exploration.ranking import ELO_PER_LOGIT, PRIOR_SD, rank_models
from arena_data.exploration.shares import Figures, decided_share, number, share

MODELS_SHOWN = 40  # in the pictures of battles and strengths: more cannot be read
MODELS_IN_HEAT_MAP = 25  # as many again across: its cells and letters must stay large enough
PAIRS_SHOWN = 15
RATIO_MINIMUM = 10  # decided battles a model needs before its win/loss ratio is listed


def _order(values: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Places from the largest value to the smallest, equal ones by name, so that two runs print the same page."""
    return np.lexsort((names, -values))


def _records(models: np.ndarray, side_a: np.ndarray, side_b: np.ndarray, verdicts: np.ndarray) -> list[Figures]:
    """Wins, losses, ties of every model, whole and by the side it was shown on; most battled first."""
    size = len(models)
    labelled = ~np.isnan(verdicts).any(axis=1) & (side_a != side_b)

    def total(side: np.ndarray, label: int) -> np.ndarray:
        return np.bincount(side[labelled], weights=verdicts[labelled, label], minlength=size)

    battles = np.bincount(side_a, minlength=size) + np.bincount(side_b[side_a != side_b], minlength=size)
    wins_as_a, losses_as_a, ties_as_a = (total(side_a, label) for label in (0, 1, 2))
    losses_as_b, wins_as_b, ties_as_b = (total(side_b, label) for label in (0, 1, 2))
    records = []
    for place in _order(battles, models):
        wins, losses = wins_as_a[place] + wins_as_b[place], losses_as_a[place] + losses_as_b[place]
        ties = ties_as_a[place] + ties_as_b[place]
        records.append(
            {
                "model": str(models[place]),
                "battles": int(battles[place]),
                "wins": float(wins),
                "losses": float(losses),
                "ties": float(ties),
                "tie_share": share(ties, wins + losses + ties),
                "win_loss_ratio": number(wins / losses) if losses else None,
                "decided_win_share": decided_share(wins, losses),
                "decided_win_share_as_a": decided_share(wins_as_a[place], losses_as_a[place]),
                "decided_win_share_as_b": decided_share(wins_as_b[place], losses_as_b[place]),
            }
        )
    return records


def _pairs(models: np.ndarray, side_a: np.ndarray, side_b: np.ndarray, verdicts: np.ndarray) -> list[Figures]:
    """The most compared pairs, whichever of the two was shown as A."""
    other = side_a != side_b
    low, high = np.minimum(side_a, side_b)[other], np.maximum(side_a, side_b)[other]
    codes, pair_of_battle, counts = np.unique(low * len(models) + high, return_inverse=True, return_counts=True)
    verdicts, first_is_a = np.nan_to_num(verdicts[other]), side_a[other] == low
    first_wins = np.where(first_is_a, verdicts[:, 0], verdicts[:, 1])
    second_wins = np.where(first_is_a, verdicts[:, 1], verdicts[:, 0])
    firsts, seconds, ties = (
        np.bincount(pair_of_battle, weights=values, minlength=len(codes))
        for values in (first_wins, second_wins, verdicts[:, 2])
    )
    return [
        {
            "models": [str(models[codes[pair] // len(models)]), str(models[codes[pair] % len(models)])],
            "battles": int(counts[pair]),
            "first_wins": float(firsts[pair]),
            "second_wins": float(seconds[pair]),
            "ties": float(ties[pair]),
        }
        for pair in np.argsort(-counts, kind="stable")[:PAIRS_SHOWN]
    ]


def _heat_map(shown: list[str], models: np.ndarray, side_a: np.ndarray, side_b: np.ndarray) -> Figures:
    """Battles of each two of the models shown, either side; the diagonal holds battles of a model with itself."""
    place = np.full(len(models), -1)
    place[np.searchsorted(models, np.array(shown, dtype=object))] = np.arange(len(shown))
    first, second = place[side_a], place[side_b]
    both = (first >= 0) & (second >= 0)
    counts = np.zeros((len(shown), len(shown)), dtype=np.int64)
    np.add.at(counts, (first[both], second[both]), 1)
    counts = counts + counts.T - np.diag(np.diag(counts))
    return {"models": shown, "battles": counts.tolist()}


def _ranking(models: np.ndarray, side_a: np.ndarray, side_b: np.ndarray, verdicts: np.ndarray) -> Figures | None:
    labelled = ~np.isnan(verdicts).any(axis=1) & (side_a != side_b)
    if not labelled.any():
        return None
    ranked, places = np.unique(np.stack([side_a, side_b])[:, labelled], return_inverse=True)
    first, second = places.reshape(2, -1)
    fit = rank_models(first, second, verdicts[labelled], len(ranked))
    battles = np.bincount(places.ravel())
    return {
        "prior_sd_elo": float(PRIOR_SD * ELO_PER_LOGIT),
        "islands": fit.islands,
        "first_position_elo": dict(
            zip(("value", "low", "high"), (float(end * ELO_PER_LOGIT) for end in fit.position), strict=True)
        ),
        "models": [
            {
                "rank": rank,
                "model": str(models[ranked[place]]),
                "battles": int(battles[place]),
                "elo": float(fit.strength[place] * ELO_PER_LOGIT),
                "low": float(fit.low[place] * ELO_PER_LOGIT),
                "high": float(fit.high[place] * ELO_PER_LOGIT),
            }
            for rank, place in enumerate(_order(fit.strength, models[ranked]), start=1)
        ],
    }


def describe_models(measured: Measurements) -> Figures:
    """Figures of models and pairs; `models` is 0 and the lists are empty where no row names both models."""
    named = np.array([a is not None and b is not None for a, b in measured.models.T], dtype=bool)
    figures: dict[str, Any] = {"rows_naming_both": int(named.sum()), "self_battles": 0, "models": 0}
    if not named.any():
        empty: Figures = {"models": [], "battles": []}
        return figures | {
            "records": [],
            "pairs": [],
            "heat_map": empty,
            "ratios": {"minimum_decided": RATIO_MINIMUM, "models": []},
            "ranking": None,
        }
    models, places = np.unique(measured.models[:, named], return_inverse=True)
    side_a, side_b = places.reshape(2, -1)
    verdicts = measured.verdicts[named]
    records = _records(models, side_a, side_b, verdicts)
    rated = [record for record in records if record["decided_win_share"]["of"] >= RATIO_MINIMUM]
    rated.sort(key=lambda record: -record["decided_win_share"]["share"])
    return figures | {
        "models": len(models),
        "self_battles": int((side_a == side_b).sum()),
        "records": records,
        "pairs": _pairs(models, side_a, side_b, verdicts),
        "heat_map": _heat_map([record["model"] for record in records[:MODELS_IN_HEAT_MAP]], models, side_a, side_b),
        "ratios": {"minimum_decided": RATIO_MINIMUM, "models": [record["model"] for record in rated]},
        "ranking": _ranking(models, side_a, side_b, verdicts),
    }
