"""Calibration: makes predicted probabilities mean what they say, by a map of one or three numbers.

As a margin and a tie strength of Davidson, log-probabilities are three logits (d/2, -d/2, tau); both maps are linear:

    temperature      d' = d/T     tau' = tau/T        the same as dividing every log-probability by T
    parity_affine    d' = s d     tau' = t tau + u    s > 0

Neither can favour a side: swapping a battle before or after the map comes to the same, to the last bit. The log loss
is convex in s, t and u (T = 1/s), so the fit on held-out battles has one answer. A normal prior around the identity
(`PRIOR_SD`) decides where rows are too few to say. `auto` takes the map of fewest parameters that grouped
cross-validation cannot tell from the best: within one standard error of their paired difference.

Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", section 4.2; Davidson (1970) as in
`reward_model.links`; the one-standard-error rule: Hastie, Tibshirani & Friedman, "The Elements of Statistical
Learning", section 7.10.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

from reward_model.rows import (
    FLOOR,
    FloatArray,
    check_groups,
    check_log_probs,
    check_verdicts,
    deal_folds,
    group_numbers,
    log_loss,
)

__all__ = ["FLOOR", "METHODS", "PARAMETERS", "Calibration", "fit", "log_loss"]

# In order of the number of parameters: what `auto` prefers comes first.
METHODS = ("none", "temperature", "parity_affine")
PARAMETERS: dict[str, tuple[str, ...]] = {
    "none": (),
    "temperature": ("temperature",),
    "parity_affine": ("margin_scale", "tie_scale", "tie_shift"),
}
# Of s, t and u around 1, 1 and 0. Scales are wrong by a factor at most; a tie rate may be far off, as after training
# on battles without ties.
PRIOR_SD = (0.25, 0.25, 0.5)
_IDENTITY = np.array([1.0, 1.0, 0.0])
# Each method moves (s, t, u) away from the identity along these directions.
_DIRECTIONS = {"none": np.zeros((3, 0)), "temperature": np.array([[1.0], [1.0], [0.0]]), "parity_affine": np.eye(3)}
_LEAST_SCALE = 1e-3  # keeps s above 0


@dataclass(frozen=True)
class Calibration:
    """A fitted map, as it is stored with the model.

    Args:
        method: one of `METHODS`.
        parameters: those that `PARAMETERS` names for the method.
        log_loss_before: of the rows it was fitted on, in nats; None if it was not fitted.
        log_loss_after: the same rows, each mapped by a fit that has not seen its group; in-sample where folds is 0.
        rows: number of battles it was fitted on.
        folds: of the cross-validation; 0 where there was a single group.
        seed: of the folds.

    Raises: ValueError for an unknown method, or parameters that are not the method's, not finite or out of range.
    """

    method: str = "none"
    parameters: dict[str, float] = field(default_factory=dict)
    log_loss_before: float | None = None
    log_loss_after: float | None = None
    rows: int = 0
    folds: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check_method(self.method, METHODS)
        expected = PARAMETERS[self.method]
        if not isinstance(self.parameters, dict) or set(self.parameters) != set(expected):
            found = sorted(map(str, self.parameters)) if isinstance(self.parameters, Mapping) else self.parameters
            raise ValueError(f"calibration {self.method!r} has parameters {found!r}; expected {list(expected)}")
        for name, value in self.parameters.items():
            if not _is_finite(value):
                raise ValueError(f"calibration parameter {name!r} is {value!r}; expected a finite number")
            if name in ("temperature", "margin_scale") and value <= 0:
                raise ValueError(f"calibration parameter {name!r} is {value!r}; expected a number above 0")
        for name in ("log_loss_before", "log_loss_after"):
            if (value := getattr(self, name)) is not None and not _is_finite(value):
                raise ValueError(f"calibration {name!r} is {value!r}; expected a finite number or null")
        for name in ("rows", "folds", "seed"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"calibration {name!r} is {getattr(self, name)!r}; expected an integer")

    def apply(self, log_probs: npt.ArrayLike) -> FloatArray:
        """Calibrated log-probabilities.

        Args:
            log_probs: float [n, 3], log P(A), log P(B), log P(tie); -inf counts as `FLOOR`.

        Returns:
            float64 [n, 3], finite, normalised.

        Raises: ValueError for another shape, NaN or +inf.
        """
        checked = check_log_probs(log_probs)
        if self.method == "none":
            return log_softmax(checked, axis=1)
        values = self.parameters
        if self.method == "temperature":
            theta = np.array([1 / values["temperature"], 1 / values["temperature"], 0.0])
        else:
            theta = np.array([values[name] for name in PARAMETERS["parity_affine"]])
        return _mapped(_coordinates(checked), theta)

    def to_json(self) -> dict[str, Any]:
        """A plain dict of strings, numbers and None."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> "Calibration":
        """The inverse of `to_json`. Raises: ValueError, in one line, for anything else."""
        if not isinstance(stored, dict):
            raise ValueError(f"calibration is a {type(stored).__name__}; expected an object")
        if unknown := sorted(set(stored) - set(cls.__dataclass_fields__)):
            raise ValueError(f"calibration has unknown entries {unknown}")
        if missing := [name for name in ("method", "parameters") if name not in stored]:
            raise ValueError(f"calibration lacks {', '.join(missing)}")
        return cls(**stored)


def fit(
    log_probs: npt.ArrayLike,
    verdicts: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    method: str = "auto",
    seed: int = 0,
) -> Calibration:
    """Fits a map on battles that the model was not trained on.

    Args:
        log_probs: float [n, 3], log P(A), log P(B), log P(tie).
        verdicts: float [n, 3], one-hot or soft, each row sums to 1.
        groups: [n], rows of one group (one prompt) stay in one fold; None: every row is its own group.
        method: one of `METHODS`, or `auto`.
        seed: of the folds.

    Returns:
        the map fitted on all rows, with its log loss in cross-validation.

    Raises: ValueError for an unknown method, no rows, or rows of a wrong shape, sum or value.
    """
    _check_method(method, ("auto", *METHODS))
    checked = check_log_probs(log_probs)
    targets = check_verdicts(verdicts, len(checked))
    names = check_groups(groups, len(checked))
    group_of_row = group_numbers(names)
    part, folds = deal_folds(names, targets, seed)

    coordinates = _coordinates(checked)
    candidates = METHODS if method == "auto" else (method,)
    if folds < 2:
        candidates = candidates[:1]
    losses = {name: _held_out_losses(coordinates, targets, part, folds, name) for name in candidates}
    chosen = _fewest_parameters(losses, group_of_row)
    theta = _fit_theta(coordinates, targets, chosen)
    return Calibration(
        method=chosen,
        parameters=_named(theta, chosen),
        log_loss_before=log_loss(log_softmax(checked, axis=1), targets),
        log_loss_after=float(losses[chosen].mean()),
        rows=len(checked),
        folds=folds if folds > 1 else 0,
        seed=seed,
    )


def _coordinates(log_probs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Davidson's margin and tie strength, float64 [n] each."""
    win_a, win_b, tie = log_probs.T
    return win_a - win_b, tie - (win_a + win_b) / 2


def _mapped(coordinates: tuple[FloatArray, FloatArray], theta: FloatArray) -> FloatArray:
    margin, tie_strength = coordinates
    half = theta[0] * margin / 2
    return log_softmax(np.stack([half, -half, theta[1] * tie_strength + theta[2]], axis=1), axis=1)


def _fit_theta(coordinates: tuple[FloatArray, FloatArray], targets: FloatArray, method: str) -> FloatArray:
    """(s, t, u) at the minimum of the summed log loss plus the prior."""
    directions = _DIRECTIONS[method]
    if directions.shape[1] == 0:
        return _IDENTITY
    margin, tie_strength = coordinates
    rows = len(margin)
    # A step's own spread: one number that moves both s and t pays once.
    precision = 1 / (directions * np.array(PRIOR_SD)[:, None]).max(axis=0) ** 2

    def loss_and_gradient(steps: FloatArray) -> tuple[float, FloatArray]:
        shift = directions @ steps
        predicted = _mapped(coordinates, _IDENTITY + shift)
        surplus = np.exp(predicted) - targets
        gradient = np.array(
            [(surplus[:, 0] - surplus[:, 1]) @ margin / 2, surplus[:, 2] @ tie_strength, surplus[:, 2].sum()]
        )
        loss = -(targets * predicted).sum() + (precision * steps**2).sum() / 2
        return loss / rows, (directions.T @ gradient + precision * steps) / rows

    bounds = [(_LEAST_SCALE - 1, None)] + [(None, None)] * (directions.shape[1] - 1)
    start = np.zeros(directions.shape[1])
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    best = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return _IDENTITY + directions @ best.x


def _named(theta: FloatArray, method: str) -> dict[str, float]:
    if method == "temperature":
        return {"temperature": float(1 / theta[0])}
    return {name: float(value) for name, value in zip(PARAMETERS[method], theta, strict=False)}


def _held_out_losses(
    coordinates: tuple[FloatArray, FloatArray], targets: FloatArray, part: np.ndarray, folds: int, method: str
) -> FloatArray:
    """float64 [n]: the log loss of each row under a fit of the other folds, in-sample where there is one fold only."""
    margin, tie_strength = coordinates
    losses = np.empty(len(targets))
    for fold in range(folds):
        held_out = part == fold
        fitted = ~held_out if folds > 1 else held_out
        theta = _fit_theta((margin[fitted], tie_strength[fitted]), targets[fitted], method)
        predicted = _mapped((margin[held_out], tie_strength[held_out]), theta)
        losses[held_out] = -(targets[held_out] * predicted).sum(axis=1)
    return losses


def _fewest_parameters(losses: Mapping[str, FloatArray], group_of_row: np.ndarray) -> str:
    """The first method whose loss is within one standard error of the best; rows of a group err together."""
    best = min(losses, key=lambda name: losses[name].mean())
    for name in losses:
        excess = losses[name] - losses[best]
        by_group = np.bincount(group_of_row, weights=excess - excess.mean())
        if excess.mean() <= np.sqrt((by_group**2).sum()) / len(excess):
            return name
    return best


def _check_method(method: Any, known: Sequence[str]) -> None:
    if method not in known:
        raise ValueError(f"unknown calibration method {method!r}; expected one of {', '.join(known)}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
