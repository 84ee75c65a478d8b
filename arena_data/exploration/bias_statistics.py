"""What sways a verdict besides quality: length, position, talking about oneself, formatting.

Every figure is a share of battles with its interval, none is corrected for anything else: longer responses may win
because they are better. "The response that does" is asked of battles in which exactly one of the two does.
"""

from collections.abc import Mapping

import numpy as np

from arena_data.exploration.measurements import Measurements
from arena_data.exploration.shares import Figures, decided_share, share, verdict_shares

BUCKETS = 10
NEAR = 0.1  # lengths are near when they differ by at most this part of the longer one


def describe_verbosity(measured: Measurements) -> Figures:
    """Verdicts by how much longer A is, in characters: buckets of about equal size, and what nearness does to ties."""
    labelled = measured.labelled
    verdicts = measured.verdicts[labelled]
    length_a, length_b = measured.characters[1:, labelled].astype(float)
    difference = length_a - length_b
    near = np.abs(difference) <= NEAR * np.maximum(length_a, length_b)
    longer_wins = np.where(difference > 0, verdicts[:, 0], verdicts[:, 1])[difference != 0].sum()
    longer_loses = np.where(difference > 0, verdicts[:, 1], verdicts[:, 0])[difference != 0].sum()
    buckets = []
    if len(difference):
        edges = np.unique(np.quantile(difference, np.linspace(0, 1, BUCKETS + 1)[1:-1]))
        bucket_of_battle = np.searchsorted(edges, difference, side="left")
        for bucket in np.unique(bucket_of_battle):
            inside = bucket_of_battle == bucket
            buckets.append(
                {
                    "from": float(difference[inside].min()),
                    "to": float(difference[inside].max()),
                    "median": float(np.median(difference[inside])),
                    "battles": int(inside.sum()),
                    "verdicts": verdict_shares(verdicts[inside]),
                }
            )
    return {
        "buckets": buckets,
        "longer_wins": decided_share(longer_wins, longer_loses),
        "near_means_within": NEAR,
        "ties_when_near": share(verdicts[near, 2].sum(), near.sum()),
        "ties_when_not_near": share(verdicts[~near, 2].sum(), (~near).sum()),
    }


def describe_position(measured: Measurements) -> Figures:
    """Share of A among decided battles; the same by model stands with the models."""
    wins, losses, _ = measured.verdicts[measured.labelled].sum(axis=0)
    return {"a_among_decided": decided_share(wins, losses)}


def _one_of_two(more_a: np.ndarray, more_b: np.ndarray, verdicts: np.ndarray) -> Figures:
    """What becomes of the response that has it where the other has not. more_a, more_b: bool [n], never both true."""
    won = verdicts[more_a, 0].sum() + verdicts[more_b, 1].sum()
    lost = verdicts[more_a, 1].sum() + verdicts[more_b, 0].sum()
    tied = verdicts[more_a | more_b, 2].sum()
    battles = int((more_a | more_b).sum())
    return {
        "battles": battles,
        "won": share(won, battles),
        "lost": share(lost, battles),
        "tied": share(tied, battles),
        "won_of_decided": decided_share(won, lost),
    }


def describe_traits(
    measured: Measurements, features_a: np.ndarray, features_b: np.ndarray, names: list[str]
) -> Figures:
    """Whether a response that has a trait wins over one that has not.

    features_a, features_b: float [n, len(names)], 0 where a response has nothing of it.
    """
    labelled = measured.labelled
    verdicts = measured.verdicts[labelled]
    traits = {}
    for column, name in enumerate(names):
        has_a, has_b = features_a[labelled, column] > 0, features_b[labelled, column] > 0
        both, neither = has_a & has_b, ~has_a & ~has_b
        traits[name] = {
            "responses": share(
                int(np.count_nonzero([features_a[:, column], features_b[:, column]])), 2 * len(measured)
            ),
            "one_of_two": _one_of_two(has_a & ~has_b, has_b & ~has_a, verdicts),
            "both": verdict_shares(verdicts[both]),
            "neither": verdict_shares(verdicts[neither]),
        }
    return traits


def describe_more(
    measured: Measurements, features_a: np.ndarray, features_b: np.ndarray, notes: Mapping[str, str]
) -> list[Figures]:
    """How often the response with more of a feature wins, for each of `notes` (name -> a sentence), surest first.

    features_a, features_b: float [n, len(notes)], in the order of `notes`.
    """
    labelled = measured.labelled
    verdicts = measured.verdicts[labelled]
    rows = []
    for column, (name, note) in enumerate(notes.items()):
        a, b = features_a[labelled, column], features_b[labelled, column]
        rows.append({"feature": name, "note": note} | _one_of_two(a > b, b > a, verdicts))
    rows.sort(key=_doubt)
    return rows


def _doubt(row: Figures) -> float:
    """Small where the whole interval lies far from one half; 1 for a feature that nothing is known of."""
    won = row["won_of_decided"]
    return 1.0 if won["share"] is None else -max(won["low"] - 0.5, 0.5 - won["high"])
