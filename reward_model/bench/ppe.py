"""PPE Human Preference: accuracy where people preferred a side, and how well models are ranked, ties counted as half.

    accuracy           share of votes for a side that the judge agrees with; ties are left out
    row-wise Pearson   the two matrices of win rates, model by model, correlated row by row, then averaged
    Spearman, Kendall  of Bradley-Terry ratings fitted to people's votes and to the judge's answers

The judge's answer is the side it prefers; half a win for each where it prefers neither. Separability, confidence agreement
and Brier score, which PPE lists besides, are not reckoned.

Source: Frick et al. (2024), "How to Evaluate Reward Models for RLHF", section 4, https://arxiv.org/abs/2410.14872.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from scipy.stats import kendalltau, spearmanr

from reward_model.bench.items import Item
from reward_model.bench.statistic import Figures, FloatArray, Statistic, weighted_mean

_STEPS = 30
_RIDGE = 1e-3  # keeps the rating of a model finite that wins or loses everything


def ppe(items: Sequence[Item], margins: Sequence[FloatArray]) -> Statistic:
    people = np.array([0.5 if item.better is None else 1.0 - item.better for item in items])
    judge = np.array([(1 + np.nan_to_num(np.sign(margin[0].mean()))) / 2 for margin in margins])
    decided = people != 0.5
    names = sorted({item.facts[side] for item in items for side in ("model_a", "model_b")})
    place = {name: number for number, name in enumerate(names)}
    a, b = (np.array([place[item.facts[side]] for item in items]) for side in ("model_a", "model_b"))

    def figures(weights: FloatArray) -> Figures:
        wins = [_wins(a, b, share, weights, len(names)) for share in (people, judge)]
        ratings = [bradley_terry(won) for won in wins]
        return {
            ("all", "accuracy"): weighted_mean(judge == people, weights * decided),
            ("all", "row-wise Pearson"): row_wise_pearson(*wins),
            ("all", "Spearman"): float(spearmanr(*ratings).statistic) if len(names) > 2 else float("nan"),
            ("all", "Kendall"): float(kendalltau(*ratings).statistic) if len(names) > 2 else float("nan"),
        }

    return figures


def _wins(a: np.ndarray, b: np.ndarray, share: FloatArray, weights: FloatArray, models: int) -> FloatArray:
    """float64 [models, models]: how often the row's model beat the column's; a tie is half a win for each."""
    won = np.zeros((models, models))
    np.add.at(won, (a, b), weights * share)
    np.add.at(won, (b, a), weights * (1 - share))
    return won


def row_wise_pearson(people: FloatArray, judge: FloatArray) -> float:
    """The mean over models of the correlation of its win rates, over opponents that it met; NaN where none has three."""
    correlations = []
    for row in range(len(people)):
        met = people[row] + people[:, row] > 0
        met[row] = False
        if met.sum() < 3:
            continue
        rates = [won[row, met] / (won[row, met] + won[met, row]) for won in (people, judge)]
        if all(rate.std() > 0 for rate in rates):
            correlations.append(np.corrcoef(*rates)[0, 1])
    return float(np.mean(correlations)) if correlations else float("nan")


def bradley_terry(won: FloatArray) -> FloatArray:
    """float64 [models]: ratings in logits that make the wins likeliest, by Newton's method."""
    games = won + won.T
    rating = np.zeros(len(won))
    for _ in range(_STEPS):
        expected = expit(rating[:, None] - rating[None, :])
        gradient = (won - games * expected).sum(axis=1) - _RIDGE * rating
        curvature = games * expected * (1 - expected)
        hessian = np.diag(curvature.sum(axis=1) + _RIDGE) - curvature
        step = np.linalg.solve(hessian, gradient)
        rating += step
        if np.abs(step).max() < 1e-9:
            break
    return rating
