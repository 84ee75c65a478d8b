"""Maps from log-probabilities to better ones, each with few parameters and one best fit.

With margin d = log P(A) - log P(B), tie strength t = log P(tie) - (log P(A) + log P(B)) / 2 and z = log p:

    none
    temperature      z' = z / T                                              Guo et al. (2017), section 4.2
    tie_multiplier   P(tie) times m, renormalised                            Saerens et al. (2002), one prior corrected
    parity_affine    d' = s d,  t' = a t + u                                 Davidson (1970), see `reward_model.links`
    threshold        p' = max(p, h), renormalised                            competition notebooks' clip
    multipliers      p'_k = m_k p_k, renormalised                            competition notebooks; Saerens et al. (2002)
    vector           z'_k = w_k z_k + b_k                                    Guo et al. (2017), section 4.2
    matrix           z' = W z + b, pulled towards the identity               Guo et al. (2017), section 4.2
    dirichlet        z' = W z + b, off-diagonal and intercept regularised    Kull et al. (2019), section 3 and equation 8

The first five cannot favour a side: swapping a battle before or after the map comes to the same, to the last bit. They are
`SWAP_EXACT`. All but the threshold are linear in logits, so that the log loss is convex in their parameters; a normal
prior around the identity decides where rows are too few to say. A log-probability is a logit here, so that matrix scaling
and the Dirichlet map are of one form and differ in what holds them back.

Source: Guo et al. (2017), "On Calibration of Modern Neural Networks"; Kull et al. (2019), "Beyond temperature scaling:
Obtaining well-calibrated multiclass probabilities with Dirichlet calibration"; Saerens, Latinne & Decaestecker (2002),
"Adjusting the Outputs of a Classifier to New a Priori Probabilities".
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from reward_model.rows import FloatArray, row_losses
from reward_model.softmax_fit import fit_logits

_CLASSES = ("a", "b", "tie")
_SHIFTS = tuple(f"shift_{name}" for name in _CLASSES)
_WEIGHTS = tuple(f"weight_{to}_{of}" for to in _CLASSES for of in _CLASSES)

# By the number of parameters, those that cannot favour a side first.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "none": (),
    "temperature": ("temperature",),
    "tie_multiplier": ("tie_multiplier",),
    "threshold": ("threshold",),
    "parity_affine": ("margin_scale", "tie_scale", "tie_shift"),
    "multipliers": tuple(f"multiplier_{name}" for name in _CLASSES),
    "vector": (*(f"scale_{name}" for name in _CLASSES), *_SHIFTS),
    "matrix": (*_WEIGHTS, *_SHIFTS),
    "dirichlet": (*_WEIGHTS, *_SHIFTS),
}
METHODS = tuple(PARAMETERS)
SWAP_EXACT = ("none", "temperature", "tie_multiplier", "threshold", "parity_affine")
# Parameters that must be above 0.
POSITIVE = {"temperature", "margin_scale", "tie_multiplier", "threshold", *PARAMETERS["multipliers"]}

# Standard deviations of the prior. Scales are wrong by a factor at most; a rate may be far off, as that of ties is after
# training on battles without them.
SCALE_SD, SHIFT_SD = 0.25, 0.5
# What cross-validation chooses from: times the prior's precision; for `dirichlet` lambda = mu of Kull et al.
STRENGTHS: dict[str, tuple[float, ...]] = {
    "multipliers": (1.0, 10.0),
    "vector": (1.0, 10.0, 100.0),
    "matrix": (1.0, 10.0, 100.0),
    "dirichlet": (0.001, 0.01, 0.1, 1.0),
}
_LEAST_SCALE = 1e-3
_LEAST_THRESHOLD = 1e-6


def strengths(method: str) -> tuple[float, ...]:
    """Those a method has; the small maps have one, because choosing cost more in log loss than it gained."""
    return STRENGTHS.get(method, (1.0,))


def apply_map(method: str, parameters: Mapping[str, float], log_probs: FloatArray) -> FloatArray:
    """float64 [n, 3], normalised; log_probs: float64 [n, 3], finite."""
    values = np.array([parameters[name] for name in PARAMETERS[method]])
    if method == "none":
        return log_softmax(log_probs, axis=1)
    if method == "threshold":
        return log_softmax(np.maximum(log_softmax(log_probs, axis=1), np.log(values[0])), axis=1)
    if method in SWAP_EXACT:
        return _mapped(log_probs, parity_affine_of(method, parameters))
    normalised = log_softmax(log_probs, axis=1)
    if method == "multipliers":
        return log_softmax(normalised + np.log(values), axis=1)
    if method == "vector":
        return log_softmax(normalised * values[:3] + values[3:], axis=1)
    return log_softmax(normalised @ values[:9].reshape(3, 3).T + values[9:], axis=1)


def fit_map(method: str, log_probs: FloatArray, verdicts: FloatArray, strength: float = 1.0) -> dict[str, float]:
    """The parameters of least log loss under the prior.

    Args:
        log_probs: float64 [n, 3], finite.
        verdicts: float64 [n, 3], soft.
        strength: see `STRENGTHS`; 0 fits without a prior.
    """
    if method == "none":
        return {}
    if method == "threshold":
        return {"threshold": _fit_threshold(log_probs, verdicts)}
    steps = np.array(0.0)
    if method in SWAP_EXACT:
        margin, tie_strength = _coordinates(log_probs)
        nothing = np.zeros_like(margin)
        scale_margin = np.stack([margin / 2, -margin / 2, nothing], axis=1)
        scale_tie = np.stack([nothing, nothing, tie_strength], axis=1)
        shift_tie = np.stack([nothing, nothing, nothing + 1], axis=1)
        offset = scale_margin + scale_tie
        columns = {
            "temperature": [offset],
            "tie_multiplier": [shift_tie],
            "parity_affine": [scale_margin, scale_tie, shift_tie],
        }[method]
        spread = [SCALE_SD] * (len(columns) - 1) + [SCALE_SD if method == "temperature" else SHIFT_SD]
        lower = None if method == "tie_multiplier" else [_LEAST_SCALE - 1] + [-np.inf] * (len(columns) - 1)
        precision = strength / np.array(spread) ** 2
        bounds = None if lower is None else np.array(lower)
        steps = fit_logits(np.stack(columns, axis=2), offset, verdicts, precision, bounds)
        if method == "temperature":
            return {"temperature": float(1 / (1 + steps[0]))}
        if method == "tie_multiplier":
            return {"tie_multiplier": float(np.exp(steps[0]))}
        return _named(method, np.array([1.0, 1.0, 0.0]) + steps)
    offset = log_softmax(log_probs, axis=1)
    design = _full_design(method, offset)
    steps = fit_logits(design, offset, verdicts, _full_precision(method, strength, len(offset)))
    if method == "multipliers":
        return _named(method, np.exp(steps))
    identity = np.ones(3) if method == "vector" else np.eye(3).ravel()
    return _named(method, np.concatenate([identity, np.zeros(3)]) + steps)


def parity_affine_of(method: str, parameters: Mapping[str, float]) -> FloatArray:
    """(s, a, u) of `parity_affine` that says the same as none, a temperature or a tie multiplier: float64 [3]."""
    if method == "temperature":
        return np.array([1 / parameters["temperature"], 1 / parameters["temperature"], 0.0])
    if method == "tie_multiplier":
        return np.array([1.0, 1.0, np.log(parameters["tie_multiplier"])])
    if method == "parity_affine":
        return np.array([parameters[name] for name in PARAMETERS[method]])
    if method == "none":
        return np.array([1.0, 1.0, 0.0])
    raise ValueError(f"calibration {method!r} is no parity-affine map")


def _named(method: str, values: FloatArray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(PARAMETERS[method], values, strict=True)}


def _coordinates(log_probs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Davidson's margin and tie strength, float64 [n] each."""
    win_a, win_b, tie = log_probs.T
    return win_a - win_b, tie - (win_a + win_b) / 2


def _mapped(log_probs: FloatArray, theta: FloatArray) -> FloatArray:
    margin, tie_strength = _coordinates(log_probs)
    half = theta[0] * margin / 2
    return log_softmax(np.stack([half, -half, theta[1] * tie_strength + theta[2]], axis=1), axis=1)


def _full_design(method: str, normalised: FloatArray) -> FloatArray:
    """float64 [n, 3, k] of the maps that treat A and B each for itself."""
    rows = len(normalised)
    shifts = np.broadcast_to(np.eye(3), (rows, 3, 3))
    if method == "multipliers":
        return shifts
    if method == "vector":
        scales = normalised[:, :, None] * np.eye(3)
    else:
        scales = (np.eye(3)[None, :, :, None] * normalised[:, None, None, :]).reshape(rows, 3, 9)
    return np.concatenate([scales, shifts], axis=2)


def _full_precision(method: str, strength: float, rows: int) -> FloatArray:
    if method == "dirichlet":
        # Kull et al. add lambda / (k (k - 1)) sum w_ij^2 over i != j and mu / k sum b_j^2 to the mean loss.
        off_diagonal = (1 - np.eye(3)).ravel() * strength / 6
        return 2 * rows * np.concatenate([off_diagonal, np.full(3, strength / 3)])
    scales = len(PARAMETERS[method]) - 3
    return strength * np.concatenate([np.full(scales, SCALE_SD**-2), np.full(3, SHIFT_SD**-2)])


def _fit_threshold(log_probs: FloatArray, verdicts: FloatArray) -> float:
    """A search: the loss has a kink wherever the threshold meets a probability."""

    def loss(log_threshold: float) -> float:
        mapped = apply_map("threshold", {"threshold": float(np.exp(log_threshold))}, log_probs)
        return float(row_losses(mapped, verdicts).mean())

    grid = np.linspace(np.log(_LEAST_THRESHOLD), np.log(1 / 3), 40)
    best = int(np.argmin([loss(value) for value in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = minimize_scalar(loss, bounds=around, method="bounded")
    return float(np.exp(found.x if found.fun < loss(grid[best]) else grid[best]))
