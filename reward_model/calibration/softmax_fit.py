"""The one convex problem behind calibration and blending: logits that are linear in what is fitted.

    minimise over theta   sum_i w_i CE(softmax(offset_i + design_i theta), verdict_i) + sum_j precision_j theta_j^2 / 2

Multinomial logistic regression with an offset and a normal prior around 0: convex, so there is one minimum to find.
Newton's method finds it in a few steps; where that lies beyond a bound, a bounded search goes on from there.
"""

import numpy as np
from scipy.special import log_softmax

from reward_model.evaluation.probabilities import FloatArray


def fit_logits(
    design: FloatArray,
    offset: FloatArray,
    verdicts: FloatArray,
    precision: FloatArray,
    lower: FloatArray | None = None,
    weights: FloatArray | None = None,
) -> FloatArray:
    """theta at the minimum, float64 [k].

    Args:
        design: float64 [n, 3, k], what one unit of each parameter adds to the logits of A, B and tie.
        offset: float64 [n, 3], the logits where theta is 0.
        verdicts: float64 [n, 3], soft.
        precision: float64 [k], inverse variances of the prior; 0 where there is none.
        lower: float64 [k], bounds from below; -inf for none.
        weights: float64 [n], how often each row counts; None: once.
    """
    from scipy.optimize import minimize  # 0.3 s to import, and applying a fit does without it

    rows, _, size = design.shape
    if size == 0:
        return np.zeros(0)
    flat = np.ascontiguousarray(design).reshape(rows * 3, size)
    counts = np.ones(rows) if weights is None else weights
    total = max(float(counts.sum()), 1.0)
    shares = verdicts.sum(axis=1, keepdims=True)

    def at(theta: FloatArray) -> FloatArray:
        return log_softmax(offset + (flat @ theta).reshape(rows, 3), axis=1)

    def loss_and_gradient(theta: FloatArray) -> tuple[float, FloatArray]:
        log_probs = at(theta)
        surplus = (np.exp(log_probs) * shares - verdicts) * counts[:, None]
        loss = -(counts @ (verdicts * log_probs).sum(axis=1)) + (precision * theta**2).sum() / 2
        return loss / total, (surplus.reshape(-1) @ flat + precision * theta) / total

    def curvature(theta: FloatArray) -> FloatArray:
        probabilities = np.exp(at(theta))
        mean = np.einsum("nc,nck->nk", probabilities, design)
        weighted = (probabilities * shares * counts[:, None]).reshape(-1)
        second = flat.T @ (flat * weighted[:, None]) - mean.T @ (mean * (counts * shares[:, 0])[:, None])
        return (second + np.diag(precision)) / total

    newton = minimize(
        loss_and_gradient, np.zeros(size), jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-9}
    )
    found = np.asarray(newton.x, dtype=np.float64)
    if lower is None or (found >= lower).all():
        return found
    bounds = [(low if np.isfinite(low) else None, None) for low in lower]
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    inside = np.maximum(found, lower)
    best = minimize(loss_and_gradient, inside, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(best.x, dtype=np.float64)
