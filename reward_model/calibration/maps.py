"""Maps from log-probabilities to better ones, each with few parameters and one best fit.

With z = log p, margin d = z_A - z_B, tie strength t = z_tie - (z_A + z_B) / 2 and q = (z_A + z_B) / 2:

    none
    temperature      z' = z / T                                              Guo et al. (2017), section 4.2
    tie_multiplier   P(tie) times m, renormalised                            Saerens et al. (2002), one prior corrected
    threshold        p' = max(p, h), renormalised                            competition notebooks' clip
    parity_affine    d' = s d,  t' = a t + u                                 Davidson (1970), see
    `reward_model.model.tie_links` parity_curved    d' = l f(d) + n (d - f(d)),  t' = a t + c q + e |d| + u,  f(d) =
    sign(d) log(1 + |d|) multipliers      p'_k = m_k p_k, renormalised                            competition
    notebooks; Saerens et al. (2002) vector           z'_k = w_k z_k + b_k                                    Guo et
    al. (2017), section 4.2 matrix           z' = W z + b, pulled towards the identity               Guo et al.
    (2017), section 4.2 dirichlet        z' = W z + b, off-diagonal and intercept regularised    Kull et al. (2019),
    section 3 and equation 8

The first six cannot favour a side: swapping a battle before or after the map comes to the same, to the last bit. They are
`SWAP_EXACT`. `parity_curved` is what of a Dirichlet map treats A and B alike, and bends besides: l scales small margins and
n large ones, both above 0 so that a larger margin stays larger, and e says how far ties depend on how close a battle is.

All but the threshold are linear in logits, so that the log loss is convex in their parameters; a prior around the identity
decides where rows are too few to say. A log-probability is a logit here, so that matrix scaling and the Dirichlet
map are of one form and differ in what holds them back.

Source: Guo et al. (2017), "On Calibration of Modern Neural Networks"; Kull et al. (2019), "Beyond temperature scaling:
Obtaining well-calibrated multiclass probabilities with Dirichlet calibration"; Saerens, Latinne & Decaestecker (2002),
"Adjusting the Outputs of a Classifier to New a Priori Probabilities"; for slopes that differ at both ends, Kull, Silva
Filho & Flach (2017), "Beta calibration".
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import log_softmax

from reward_model.calibration.softmax_fit import fit_logits
from reward_model.evaluation.probabilities import FloatArray, row_losses

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
    "parity_curved": (
        "small_margin_scale",
        "large_margin_scale",
        "tie_scale",
        "tie_by_wins",
        "tie_by_margin",
        "tie_shift",
    ),
    "multipliers": tuple(f"multiplier_{name}" for name in _CLASSES),
    "vector": (*(f"scale_{name}" for name in _CLASSES), *_SHIFTS),
    "matrix": (*_WEIGHTS, *_SHIFTS),
    "dirichlet": (*_WEIGHTS, *_SHIFTS),
}
METHODS = tuple(PARAMETERS)
SWAP_EXACT = ("none", "temperature", "tie_multiplier", "threshold", "parity_affine", "parity_curved")
# Parameters that must be above 0.
POSITIVE = {"temperature", "tie_multiplier", "threshold", *PARAMETERS["multipliers"]} | {
    name for names in PARAMETERS.values() for name in names if name.endswith("margin_scale")
}

# Of the prior. A scale is wrong by a factor at most: SCALE_SD is the standard deviation for a model whose margins are as
# wide as WIDE (root mean square) or wider. Narrow margins are rarely overconfident, and so few nats hang on their scale that
# noise would choose it: the swap-exact maps hold it in proportion.
SCALE_SD, SHIFT_SD, WIDE = 0.25, 0.5, 1.7
# Of a swap-exact map: a rate of ties is mostly right and now and then far off, as after training on battles without ties.
# So the shift has Student's t for a prior, one degree of freedom, this scale.
SHIFT_SCALE = 0.2
# What cross-validation chooses from: times the prior's precision; for `dirichlet` lambda = mu of Kull et al.
STRENGTHS: dict[str, tuple[float, ...]] = {
    "multipliers": (1.0, 10.0),
    "vector": (1.0, 10.0, 100.0),
    "matrix": (1.0, 10.0, 100.0),
    "dirichlet": (0.001, 0.01, 0.1, 1.0),
}
_LEAST_SCALE = 1e-3
_REWEIGHTINGS, _SETTLED = 10, 1e-3
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
        point = parity_point(method, parameters)
        margin, tie_strength = _bent(log_probs, point) if method == "parity_curved" else _scaled(log_probs, point)
        return log_softmax(np.stack([margin / 2, -margin / 2, tie_strength], axis=1), axis=1)
    normalised = log_softmax(log_probs, axis=1)
    if method == "multipliers":
        return log_softmax(normalised + np.log(values), axis=1)
    if method == "vector":
        return log_softmax(normalised * values[:3] + values[3:], axis=1)
    return log_softmax(normalised @ values[:9].reshape(3, 3).T + values[9:], axis=1)


def fit_map(
    method: str, log_probs: FloatArray, verdicts: FloatArray, strength: float = 1.0, hold_narrow: bool = True
) -> dict[str, float]:
    """The parameters of least log loss under the prior.

    Args:
        log_probs: float64 [n, 3], finite.
        verdicts: float64 [n, 3], soft.
        strength: see `STRENGTHS`; 0 fits without a prior.
        hold_narrow: let a swap-exact map hold the scale of narrow margins; not of a pool, whose margins averaging narrowed.
    """
    if method == "none":
        return {}
    if method == "threshold":
        return {"threshold": _fit_threshold(log_probs, verdicts)}
    if method in SWAP_EXACT:
        return _fit_swap_exact(method, log_probs, verdicts, strength, hold_narrow)
    offset = log_softmax(log_probs, axis=1)
    design = _full_design(method, offset)
    steps = fit_logits(design, offset, verdicts, _full_precision(method, strength, len(offset)))
    if method == "multipliers":
        return _named(method, np.exp(steps))
    identity = np.ones(3) if method == "vector" else np.eye(3).ravel()
    return _named(method, np.concatenate([identity, np.zeros(3)]) + steps)


def parity_point(method: str, parameters: Mapping[str, float]) -> FloatArray:
    """The parameters of `parity_curved` that say the same as a swap-exact map without a threshold: float64 [6]."""
    if method == "parity_curved":
        return np.array([parameters[name] for name in PARAMETERS[method]])
    scale, tie_scale, shift = 1.0, 1.0, 0.0
    if method == "temperature":
        scale = tie_scale = 1 / parameters["temperature"]
    elif method == "tie_multiplier":
        shift = float(np.log(parameters["tie_multiplier"]))
    elif method == "parity_affine":
        scale, tie_scale, shift = (parameters[name] for name in PARAMETERS[method])
    elif method != "none":
        raise ValueError(f"calibration {method!r} is not among the parity-curved maps")
    return np.array([scale, scale, tie_scale, 0.0, 0.0, shift])


def _named(method: str, values: FloatArray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(PARAMETERS[method], values, strict=True)}


def _coordinates(log_probs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Davidson's margin and tie strength, float64 [n] each."""
    win_a, win_b, tie = log_probs.T
    return win_a - win_b, tie - (win_a + win_b) / 2


def _scaled(log_probs: FloatArray, point: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Margin and tie strength of a map without curvature."""
    margin, tie_strength = _coordinates(log_probs)
    return point[0] * margin, point[2] * tie_strength + point[5]


def _bent(log_probs: FloatArray, point: FloatArray) -> tuple[FloatArray, FloatArray]:
    margin, tie_strength = _coordinates(log_probs)
    small, large, wins, size = _curvature(log_probs, margin)
    bent = point[0] * small + point[1] * large
    return bent, point[2] * tie_strength + point[3] * wins + point[4] * size + point[5]


def _curvature(log_probs: FloatArray, margin: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """f(d), d - f(d), q as it is over even odds, and |d|."""
    size = np.abs(margin)
    small = np.sign(margin) * np.log1p(size)
    normalised = log_softmax(log_probs, axis=1)
    return small, margin - small, (normalised[:, 0] + normalised[:, 1]) / 2 + np.log(3), size


def _fit_swap_exact(
    method: str, log_probs: FloatArray, verdicts: FloatArray, strength: float, hold_narrow: bool
) -> dict[str, float]:
    margin, tie_strength = _coordinates(log_probs)
    nothing = np.zeros_like(margin)

    def of_margin(values: FloatArray) -> FloatArray:
        return np.stack([values / 2, -values / 2, nothing], axis=1)

    def of_tie(values: FloatArray) -> FloatArray:
        return np.stack([nothing, nothing, values], axis=1)

    offset = of_margin(margin) + of_tie(tie_strength)
    held = float(np.clip(np.sqrt(np.mean(margin**2)) / WIDE, 1e-3, 1)) if hold_narrow else 1.0
    scale_sd = SCALE_SD * held
    # What a unit of each parameter adds to the logits, how far it may be expected to go, and the least it may be.
    columns: list[FloatArray] = []
    spread: list[float] = []
    lower: list[float] = []

    def add(column: FloatArray, sd: float, least: float = -np.inf) -> None:
        columns.append(column)
        spread.append(sd)
        lower.append(least)

    if method == "temperature":
        add(offset, scale_sd, _LEAST_SCALE - 1)
    elif method == "parity_affine":
        add(of_margin(margin), scale_sd, _LEAST_SCALE - 1)
        add(of_tie(tie_strength), scale_sd)
    elif method == "parity_curved":
        small, large, wins, size = _curvature(log_probs, margin)
        for part in (small, large):
            add(of_margin(part), scale_sd, _LEAST_SCALE - 1)
        for values in (tie_strength, wins, size):
            add(of_tie(values), SCALE_SD)
    if method != "temperature":
        add(of_tie(nothing + 1), SHIFT_SCALE)
    fit = fit_logits if method == "temperature" else _fit_with_shift
    steps = fit(np.stack(columns, axis=2), offset, verdicts, strength / np.array(spread) ** 2, np.array(lower))
    if method == "temperature":
        return {"temperature": float(1 / (1 + steps[0]))}
    if method == "tie_multiplier":
        return {"tie_multiplier": float(np.exp(steps[0]))}
    if method == "parity_affine":
        return _named(method, np.array([1.0, 1.0, 0.0]) + steps)
    point = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) + steps
    # As a margin grows at a fixed tie strength, the logit of a tie gains e - c / 2 a unit and that of a win n / 2. Where
    # the fit would have ties overtake wins beyond the margins it has seen, there is no curve to be trusted.
    if point[4] - point[3] / 2 >= point[1] / 2:
        point = parity_point(
            "parity_affine", _fit_swap_exact("parity_affine", log_probs, verdicts, strength, hold_narrow)
        )
    return _named(method, point)


def _fit_with_shift(
    design: FloatArray, offset: FloatArray, verdicts: FloatArray, precision: FloatArray, lower: FloatArray
) -> FloatArray:
    """As `fit_logits`, but the prior of the last parameter is Student's t with one degree of freedom and this precision.

    Source: Lange, Little & Taylor (1989), "Robust Statistical Modeling Using the t Distribution", section 3, whose
    reweighting this is: a normal prior as wide as the last step says.
    """
    weighted = precision.copy()
    steps = fit_logits(design, offset, verdicts, weighted, lower)
    for _ in range(_REWEIGHTINGS):
        last = steps[-1]
        weighted[-1] = 2 * precision[-1] / (1 + precision[-1] * last**2)
        steps = fit_logits(design, offset, verdicts, weighted, lower)
        if abs(steps[-1] - last) < _SETTLED:
            break
    return steps


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
    from scipy.optimize import minimize_scalar  # 0.3 s to import, and `apply_map` does without it

    found = minimize_scalar(loss, bounds=around, method="bounded")
    return float(np.exp(found.x if found.fun < loss(grid[best]) else grid[best]))
