"""What goes with a verdict on real battles, for people and for the model side by side: copied, amplified or neither.

All effects are in one unit, the win share: P(wins) + ½ P(tie), for people the verdict itself. An effect of 0.05 on
a response means that it wins five in a hundred battles more than an equal one. Model and people are compared on the
same battles, and the interval of their difference is that of the pairs.

These are correlations: longer responses may win because they are better. A calibrated model that reads the content
well has the people's correlations; one that has larger ones takes the sign for the thing.
"""

from typing import Any

import numpy as np

from arena_data.style.features import RESPONSE_FEATURES, StyleArrays
from reward_model.evaluation.resampling import Estimate, Resampling

Figures = dict[str, Any]

# A response has a trait where one of these features is above the threshold.
TRAITS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "lists": ("has lists", ("log_bullets", "log_numbered"), 0.0),
    "bold": ("has bold", ("log_bold",), 0.0),
    "headings": ("has headings", ("log_headings",), 0.0),
    "self_naming": ("names itself", ("self_naming",), 0.0),
    "self_praise": ("praises itself", ("self_praise",), 0.0),
    "other_script": ("answers in another script", ("other_script",), 0.3),
}
LENGTH_BUCKETS = 10
LEAST_BATTLES = 20


def win_share(probabilities: np.ndarray) -> np.ndarray:
    """float64 [n]: what A gets of each battle, from float [n, 3]: P(A) + ½ P(tie)."""
    return np.asarray(probabilities[:, 0] + 0.5 * probabilities[:, 2], np.float64)


def stance(model: Estimate, people: Estimate, difference: Estimate) -> str:
    """In a word, what the model does with the people's leaning; as far as the intervals can tell."""
    if people["battles"] < LEAST_BATTLES or None in (difference["low"], people["low"], model["low"]):
        return "too few battles"
    if difference["low"] <= 0 <= difference["high"]:
        return "cannot tell" if people["low"] <= 0 <= people["high"] else "copies"
    if people["low"] <= 0 <= people["high"]:
        return "cannot tell" if model["low"] <= 0 <= model["high"] else "adds its own"
    if model["value"] * people["value"] < 0:
        return "reverses"
    return "amplifies" if abs(model["value"]) > abs(people["value"]) else "dampens"


def _compared(model: Estimate, people: Estimate, difference: Estimate) -> Figures:
    return {"model": model, "people": people, "difference": difference, "stance": stance(model, people, difference)}


def compare_means(
    resampling: Resampling, model: np.ndarray, people: np.ndarray, inside: np.ndarray | None = None
) -> Figures:
    """Means of both over the battles of a mask, with that of the difference. model, people: float [n]."""
    return _compared(
        resampling.mean(model, inside), resampling.mean(people, inside), resampling.mean(model - people, inside)
    )


def compare_slopes(resampling: Resampling, model: np.ndarray, people: np.ndarray, predictor: np.ndarray) -> Figures:
    """Slopes of both on an antisymmetric predictor float [n], with that of the difference."""
    return _compared(
        resampling.slope(model, predictor),
        resampling.slope(people, predictor),
        resampling.slope(model - people, predictor),
    )


def length_doublings(style: StyleArrays) -> np.ndarray:
    """float64 [n]: log2 of A's length over B's, in characters of all turns."""
    column = RESPONSE_FEATURES.index("length_log_sum")
    return (style.a[:, column].astype(np.float64) - style.b[:, column]) / np.log(2)


def has_trait(style: StyleArrays, trait: str) -> tuple[np.ndarray, np.ndarray]:
    """bool [n] twice: whether A has it, whether B has it."""
    _, features, threshold = TRAITS[trait]
    columns = [RESPONSE_FEATURES.index(name) for name in features]
    has_a, has_b = ((side[:, columns] > threshold).max(axis=1) for side in (style.a, style.b))
    return has_a, has_b


def observed_trait(
    resampling: Resampling, model: np.ndarray, people: np.ndarray, style: StyleArrays, trait: str
) -> Figures:
    """Win share above one half of the response that has the trait, where the other has not.

    model, people: float [n], A's win share less one half.
    """
    has_a, has_b = has_trait(style, trait)
    sign = has_a.astype(np.float64) - has_b
    return {"trait": trait, "label": TRAITS[trait][0], "battles": int(np.count_nonzero(sign))} | compare_means(
        resampling, sign * model, sign * people, sign != 0
    )


def length_curve(resampling: Resampling, model: np.ndarray, people: np.ndarray, doublings: np.ndarray) -> list[Figures]:
    """A's win share by how much longer A is, in buckets of about equal size. model, people: float [n], win shares."""
    edges = np.unique(np.quantile(doublings, np.linspace(0, 1, LENGTH_BUCKETS + 1)[1:-1]))
    bucket_of_battle = np.searchsorted(edges, doublings, side="left")
    curve = []
    for bucket in np.unique(bucket_of_battle):
        inside = bucket_of_battle == bucket
        median = float(np.median(doublings[inside]))
        curve.append({"doublings": median} | compare_means(resampling, model, people, inside))
    return curve
