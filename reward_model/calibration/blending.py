"""Blending: several models' log-probabilities into one set of them, with weights and with what they are worth.

    logarithmic   log p = sum_m w_m log p_m, normalised: a weighted mean of margins and tie strengths
    linear        p = sum_m w_m p_m

Both fits are convex. Logarithmic weights are the coefficients, at least 0, of a softmax regression on the members'
logits with a shift of ties; divided by their sum they are the weights, and calibration of the pooled rows takes over
their size. Linear weights maximise the likelihood of the mixture: with sum(w) added to the mean log loss, the minimum
over w >= 0 lies on the simplex by itself, because the loss is log-homogeneous in w. Which pooling is kept is decided by
grouped cross-validation of the whole, calibration included.

Both keep a blend of swap-exact members swap-exact to the last bit: columns are pooled one by one, in the same order.

Source: Genest & Zidek (1986), "Combining Probability Distributions", sections 3 and 4; Wolpert (1992) and Breiman (1996)
for weights of at least 0 on out-of-fold predictions; Ranjan & Gneiting (2010) for calibrating a linear pool.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from arena_data.splits.folds import deal_folds
from reward_model.calibration import calibration
from reward_model.calibration.calibration import Calibration
from reward_model.calibration.softmax_fit import fit_logits
from reward_model.evaluation.probabilities import (
    FloatArray,
    check_groups,
    check_log_probs,
    check_verdicts,
    group_numbers,
    row_losses,
)
from reward_model.evaluation.resampling import INTERVAL, draws

POOLINGS = ("logarithmic", "linear")
RESAMPLES = 200


def pool(log_probs: Sequence[npt.ArrayLike], weights: npt.ArrayLike, pooling: str = "logarithmic") -> FloatArray:
    """Log-probabilities of the blend.

    Args:
        log_probs: a member's log-probabilities each, float [n, 3]; -inf counts as `rows.FLOOR`.
        weights: one a member, at least 0; they are divided by their sum.
        pooling: one of `POOLINGS`.

    Returns:
        float64 [n, 3], finite, normalised.

    Raises: ValueError for an unknown pooling, no members, members of different lengths, or weights that do not fit.
    """
    members = _check_members(log_probs)
    shares = check_weights(weights, len(members))
    if pooling not in POOLINGS:
        raise ValueError(f"unknown pooling {pooling!r}; expected one of {', '.join(POOLINGS)}")
    normalised = np.stack([log_softmax(member, axis=1) for member in members])
    if pooling == "logarithmic":
        return log_softmax(np.einsum("m,mnc->nc", shares, normalised), axis=1)
    return log_softmax(logsumexp(normalised, axis=0, b=shares[:, None, None]), axis=1)


@dataclass(frozen=True)
class Blend:
    """Members, their weights and the calibration of what comes of them, as stored in blend.json.

    Args:
        members: names, such as the folders or files they are read from.
        weights: one a member, at least 0, summing to 1.
        pooling: one of `POOLINGS`.
        calibration: of the pooled log-probabilities.
        intervals: 95 % bootstrap interval of each weight, resampled by prompt; empty where weights were not fitted.
        log_loss: of each pooling in grouped cross-validation, weights and calibration fitted without the fold, in nats.
        rows: number of battles the weights were fitted on.

    Raises: ValueError for anything else.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    pooling: str = "logarithmic"
    calibration: Calibration = field(default_factory=Calibration)
    intervals: tuple[tuple[float, float], ...] = ()
    log_loss: dict[str, float] = field(default_factory=dict)
    rows: int = 0

    def __post_init__(self) -> None:
        if not self.members or not all(isinstance(name, str) and name for name in self.members):
            raise ValueError(f"blend has members {list(self.members)!r}; expected at least one name")
        if self.pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {self.pooling!r}; expected one of {', '.join(POOLINGS)}")
        check_weights(self.weights, len(self.members))
        if not isinstance(self.calibration, Calibration):
            raise ValueError("blend has no calibration")

    def apply(self, log_probs: Sequence[npt.ArrayLike]) -> FloatArray:
        """Calibrated log-probabilities, float64 [n, 3], of the members' float [n, 3], in the order of `members`."""
        return self.calibration.apply(self.pool(log_probs))

    def pool(self, log_probs: Sequence[npt.ArrayLike]) -> FloatArray:
        """The same without the calibration."""
        return pool(log_probs, self.weights, self.pooling)

    def to_json(self) -> dict[str, Any]:
        """A plain dict of strings, numbers, lists and None."""
        stored = asdict(self) | {"calibration": self.calibration.to_json()}
        return stored | {
            "members": list(self.members),
            "weights": list(self.weights),
            "intervals": [list(interval) for interval in self.intervals],
        }

    @classmethod
    def from_json(cls, stored: Any) -> "Blend":
        """The inverse of `to_json`. Raises: ValueError, in one line, for anything else."""
        if not isinstance(stored, dict):
            raise ValueError(f"blend is a {type(stored).__name__}; expected an object")
        if unknown := sorted(set(stored) - set(cls.__dataclass_fields__)):
            raise ValueError(f"blend has unknown entries {unknown}")
        if missing := [name for name in ("members", "weights", "pooling", "calibration") if name not in stored]:
            raise ValueError(f"blend lacks {', '.join(missing)}")
        for name in ("members", "weights", "intervals"):
            if not isinstance(stored.get(name, []), list):
                raise ValueError(f"blend {name!r} is {stored[name]!r}; expected a list")
        return cls(
            **stored
            | {
                "members": tuple(stored["members"]),
                "weights": tuple(stored["weights"]),
                "intervals": tuple(tuple(interval) for interval in stored.get("intervals", [])),
                "calibration": Calibration.from_json(stored["calibration"]),
            }
        )


def fit_blend(
    log_probs: Sequence[npt.ArrayLike],
    verdicts: npt.ArrayLike,
    groups: Sequence[str] | None = None,
    members: Sequence[str] | None = None,
    pooling: str = "auto",
    seed: int = 0,
    resamples: int = RESAMPLES,
    weights: npt.ArrayLike | None = None,
) -> Blend:
    """Weights, pooling and calibration, fitted on battles that no member was trained on.

    Args:
        log_probs: a member's log-probabilities each, float [n, 3], out of fold.
        verdicts: float [n, 3], one-hot or soft.
        groups: [n], rows of one group (one prompt) stay together; None: every row is its own group.
        members: their names; None: their numbers.
        pooling: one of `POOLINGS`, or `auto`: the one of lower log loss in cross-validation.
        seed: of folds and resamples.
        resamples: for the weights' intervals; 0: none.
        weights: one a member, to be taken as they are; None: fitted. Pooling and calibration are fitted all the same.

    Raises: ValueError for rows, groups or names that do not fit together.
    """
    if pooling not in ("auto", *POOLINGS):
        raise ValueError(f"unknown pooling {pooling!r}; expected one of auto, {', '.join(POOLINGS)}")
    logits = _check_members(log_probs)
    targets = check_verdicts(verdicts, logits.shape[1])
    names = check_groups(groups, logits.shape[1])
    part, folds = deal_folds(names, targets, seed)
    given = None if weights is None else check_weights(weights, len(logits))

    candidates = POOLINGS if pooling == "auto" else (pooling,)
    losses: dict[str, float] = {}
    for candidate in candidates:
        held_out = np.empty(len(targets))
        for fold in range(folds):
            out = part == fold
            fitted = ~out if folds > 1 else out
            inner = [name for name, inside in zip(names, fitted, strict=True) if inside]
            found = _fit_pooling(logits[:, fitted], targets[fitted], inner, candidate, seed, given)
            held_out[out] = row_losses(found.apply(list(logits[:, out])), targets[out])
        losses[candidate] = float(held_out.mean())
    chosen = min(losses, key=lambda name: losses[name])
    blend = _fit_pooling(logits, targets, names, chosen, seed, given)
    return replace(
        blend,
        members=tuple(members) if members is not None else blend.members,
        intervals=()
        if given is not None
        else _weight_intervals(logits, targets, group_numbers(names), chosen, seed, resamples),
        log_loss=losses,
        rows=len(targets),
    )


def check_weights(weights: npt.ArrayLike, members: int) -> FloatArray:
    """float64 [members], summing to 1. Raises: ValueError for another number of them, one below 0, or all of them 0."""
    checked = np.asarray(weights, dtype=np.float64)
    if checked.shape != (members,):
        raise ValueError(f"{checked.size} weights for {members} members; expected one each")
    if not (np.isfinite(checked).all() and (checked >= 0).all() and checked.sum() > 0):
        raise ValueError(f"weights are {checked.tolist()}; expected numbers of at least 0 that are not all 0")
    shares: FloatArray = checked / checked.sum()
    return shares


def _check_members(log_probs: Sequence[npt.ArrayLike]) -> FloatArray:
    """float64 [members, n, 3]."""
    members = [check_log_probs(member) for member in log_probs]
    if not members:
        raise ValueError("a blend needs at least one member")
    lengths = [len(member) for member in members]
    if len(set(lengths)) > 1:
        raise ValueError(f"members have {lengths} rows; expected the same battles from each")
    return np.stack(members)


def _fit_pooling(
    logits: FloatArray, targets: FloatArray, names: Sequence[str], pooling: str, seed: int, given: FloatArray | None
) -> Blend:
    weights = _fit_weights(logits, targets, pooling) if given is None else given
    # Averaging narrows margins, and the map has to widen them again.
    fitted = calibration.fit(pool(list(logits), weights, pooling), targets, names, seed=seed, hold_narrow=False)
    numbers = tuple(str(member + 1) for member in range(len(logits)))
    return Blend(members=numbers, weights=tuple(weights.tolist()), pooling=pooling, calibration=fitted)


def _fit_weights(logits: FloatArray, targets: FloatArray, pooling: str, counts: FloatArray | None = None) -> FloatArray:
    """float64 [members], summing to 1; equal where no member tells anything."""
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


def _weight_intervals(
    logits: FloatArray, targets: FloatArray, group_of_row: np.ndarray, pooling: str, seed: int, resamples: int
) -> tuple[tuple[float, float], ...]:
    if resamples == 0:
        return ()
    resampling = []
    for by_group in draws(int(group_of_row.max()) + 1, resamples, seed):
        counts = by_group[group_of_row].astype(float)
        seen = counts > 0
        resampling.append(_fit_weights(logits[:, seen], targets[seen], pooling, counts[seen]))
    low, high = np.percentile(np.stack(resampling), INTERVAL, axis=0)
    return tuple((float(one), float(other)) for one, other in zip(low, high, strict=True))
