"""Bradley-Terry strengths of models from battles that may end in a tie, with intervals.

Davidson's extension of Bradley-Terry is a multinomial logit with three outcomes for model i (as A) against j (as B):

    logit A = (s_i - s_j + p) / 2        logit B = -(s_i - s_j + p) / 2        logit tie = t

s: strength, p: what being side A is worth, t: how common ties are. Battles add up by ordered pair of models, so 57,000
of them cost no more than their pairs, and soft verdicts add fractions. Many models have few battles, some never lose:
a normal prior (mean 0, sd `PRIOR_SD`) keeps their strengths finite by pulling them towards the average model.
Intervals are Laplace's: the inverse Hessian at the mode, taken relative to the average model. What differs between the two
responses, such as their length, can be held apart: each covariate x adds b x to what A's logit gains and B's loses, halved.
A battle then counts by itself, not by its pair.

statsmodels' OrderedModel and ConditionalLogit know neither weights nor priors, hence scipy's minimiser on a convex
function with an exact Hessian; the tests hold it against ConditionalLogit.

Source: Davidson (1970), "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments".
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import log_softmax

PRIOR_SD = 1.0  # of a strength, in logits: 174 points of Elo
WEAK_PRIOR_SD = 10.0  # of the position and tie terms: only keeps them finite, as where no battle is tied
ELO_PER_LOGIT = 400 / np.log(10)


@dataclass(frozen=True)
class Ranking:
    """Strengths in logits relative to the average model: strength, low, high (95 %), all float64 [models].

    position: what being shown as A is worth, in logits, with its 95 % interval (low, high).
    islands: number of groups of models never compared with each other; between groups only the prior decides.
    effects: float64 [k, 3], value, low, high of what a unit of each covariate is worth, in logits.
    """

    strength: np.ndarray
    low: np.ndarray
    high: np.ndarray
    position: tuple[float, float, float]
    islands: int
    effects: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))


def rank_models(
    side_a: np.ndarray,
    side_b: np.ndarray,
    verdicts: np.ndarray,
    models: int,
    *,
    prior_sd: float = PRIOR_SD,
    covariates: np.ndarray | None = None,
) -> Ranking:
    """Fits the strengths.

    Args:
        side_a: int [battles], index of the model shown as A.
        side_b: int [battles], index of the model shown as B. A model against itself says nothing of its strength.
        verdicts: float [battles, 3], P(A), P(B), P(tie) of each battle.
        models: number of models, at least 1.
        prior_sd: standard deviation of the normal prior on strengths and effects, in logits.
        covariates: float [battles, k], what A has more of than B, on scales near 1; none if None.
    """
    extra = 0 if covariates is None else covariates.shape[1]
    pair_codes, pair_of_battle = np.unique(side_a * models + side_b, return_inverse=True)
    if extra:
        pair_codes, pair_of_battle = side_a * models + side_b, np.arange(len(side_a))
    pairs = len(pair_codes)
    counts = np.stack([np.bincount(pair_of_battle, weights=verdicts[:, k], minlength=pairs) for k in range(3)], axis=1)
    battles = counts.sum(axis=1)
    first, second = pair_codes // models, pair_codes % models

    # Columns: one a model, then position, tie and covariates. `half` is what A's logit adds and B's takes away.
    rows = np.arange(pairs)
    tie, size = models + 1, models + 2 + extra
    values = [np.repeat([0.5, -0.5, 0.5], pairs)]
    columns = [first, second, np.full(pairs, models)]
    for place in range(extra):
        values.append(covariates[:, place] / 2)  # type: ignore[index]
        columns.append(np.full(pairs, models + 2 + place))
    half = coo_array(
        (np.concatenate(values), (np.tile(rows, 3 + extra), np.concatenate(columns))), shape=(pairs, size)
    ).tocsr()
    precision = np.full(size, prior_sd**-2.0)
    precision[models : models + 2] = WEAK_PRIOR_SD**-2.0

    def log_probabilities(parameters: np.ndarray) -> np.ndarray:
        margin = half @ parameters
        return log_softmax(np.stack([margin, -margin, np.full(pairs, parameters[tie])], axis=1), axis=1)

    def loss_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        predicted = log_probabilities(parameters)
        surplus = np.exp(predicted) * battles[:, None] - counts
        gradient = half.T @ (surplus[:, 0] - surplus[:, 1]) + precision * parameters
        gradient[tie] += surplus[:, 2].sum()
        return float(-(counts * predicted).sum() + 0.5 * (precision * parameters**2).sum()), gradient

    def hessian(parameters: np.ndarray) -> np.ndarray:
        win, loss, tied = np.exp(log_probabilities(parameters)).T
        decided = battles * (win + loss - (win - loss) ** 2)
        curvature = (half.T @ half.multiply(decided[:, None])).toarray()
        across = half.T @ (-battles * tied * (win - loss))
        curvature[tie, :] += across
        curvature[:, tie] += across
        curvature[tie, tie] += (battles * tied * (1 - tied)).sum()
        return curvature + np.diag(precision)

    fit = minimize(loss_and_gradient, np.zeros(size), jac=True, hess=hessian, method="trust-exact")
    covariance = np.linalg.inv(hessian(fit.x))
    centre = np.eye(models) - 1 / models
    strength = centre @ fit.x[:models]
    reach = 1.96 * np.sqrt(np.maximum(np.diag(centre @ covariance[:models, :models] @ centre), 0))
    position, position_reach = float(fit.x[models]), float(1.96 * np.sqrt(covariance[models, models]))
    effects = np.stack([fit.x[models + 2 :]] * 3, axis=1)
    effects += np.array([0, -1.96, 1.96]) * np.sqrt(np.diag(covariance)[models + 2 :, None])
    links = coo_array((np.ones(pairs), (first, second)), shape=(models, models))
    return Ranking(
        strength=strength,
        low=strength - reach,
        high=strength + reach,
        position=(position, position - position_reach, position + position_reach),
        islands=int(connected_components(links, directed=False)[0]),
        effects=effects,
    )
