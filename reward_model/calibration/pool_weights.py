"""Weights of a pool: two convex fits, and the bootstrap intervals of what they give.

Logarithmic weights are the coefficients, at least 0, of a softmax regression on the members' logits with a shift of ties,
divided by their sum. Linear weights maximise the likelihood of the mixture: with sum(w) added to the mean log loss, the
minimum over w >= 0 lies on the simplex by itself, because the loss is log-homogeneous in w.

Source: Wolpert (1992) and Breiman (1996) for weights of at least 0 on out-of-fold predictions.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from reward_model.calibration.softmax_fit import fit_logits
from reward_model.evaluation.probabilities import FloatArray
from reward_model.evaluation.resampling import INTERVAL, draws


def fit_weights(logits: FloatArray, targets: FloatArray, pooling: str, counts: FloatArray | None = None) -> FloatArray:
    """float64 [members], summing to 1; equal where no member tells anything.

    Args:
        logits: float64 [members, n, 3], log-probabilities.
        targets: float64 [n, 3], verdicts.
        pooling: `logarithmic` or `linear`.
        counts: float64 [n], how often each row counts; None: once.
    """
    members, rows, _ = logits.shape
    normalised = log_softmax(logits, axis=2)
    if pooling == "logarithmic":
        shift = np.zeros((rows, 3, 1))
        shift[:, 2] = 1.0
        design = np.concatenate([np.moveaxis(normalised, 0, 2), shift], axis=2)
        lower = np.array([0.0] * members + [-np.inf])
        found = fit_logits(design, np.zeros((rows, 3)), targets, np.zeros(members + 1), lower, counts)[:members]
    else:
        found = _fit_mixture(np.exp(normalised), targets, np.ones(rows) if counts is None else counts)
    return found / found.sum() if found.sum() > 0 else np.full(members, 1 / members)


def _fit_mixture(probabilities: FloatArray, targets: FloatArray, counts: FloatArray) -> FloatArray:
    shares = counts[:, None] * targets / counts.sum()

    def loss_and_gradient(weights: FloatArray) -> tuple[float, FloatArray]:
        mixture = np.einsum("m,mnc->nc", weights, probabilities)
        loss = -(shares * np.log(mixture)).sum() + weights.sum()
        return loss, 1 - np.einsum("nc,mnc->m", shares / mixture, probabilities)

    members = len(probabilities)
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    start = np.full(members, 1 / members)
    # Not quite 0: a mixture of nothing has no logarithm.
    bounds = [(1e-12, None)] * members
    best = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.where(best.x > 1e-9, best.x, 0.0)


def weight_intervals(
    logits: FloatArray, targets: FloatArray, group_of_row: np.ndarray, pooling: str, seed: int, resamples: int
) -> tuple[tuple[float, float], ...]:
    """The 95 % bootstrap interval of each weight, resampled by group; empty without resamples."""
    if resamples == 0:
        return ()
    resampling = []
    for by_group in draws(int(group_of_row.max()) + 1, resamples, seed):
        counts = by_group[group_of_row].astype(float)
        seen = counts > 0
        resampling.append(fit_weights(logits[:, seen], targets[seen], pooling, counts[seen]))
    low, high = np.percentile(np.stack(resampling), INTERVAL, axis=0)
    return tuple((float(one), float(other)) for one, other in zip(low, high, strict=True))
