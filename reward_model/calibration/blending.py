"""Blending: several models' log-probabilities into one set of them, with weights and with what they are worth.

    logarithmic   log p = sum_m w_m log p_m, normalised: a weighted mean of margins and tie strengths
    linear        p = sum_m w_m p_m

The weights are fitted (`reward_model.calibration.pool_weights`), and a calibration of the pooled rows takes over their
size. Which pooling is kept is decided by grouped cross-validation of the whole, calibration included. What such a pool
cannot say may be learned on top of it (`reward_model.calibration.bending`); by default it is, where cross-validation is
sure that it helps.

Both keep a blend of swap-exact members swap-exact to the last bit: columns are pooled one by one, in the same order.

Source: Genest & Zidek (1986), "Combining Probability Distributions", sections 3 and 4; Ranjan & Gneiting (2010) for
calibrating a linear pool.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, logsumexp

from arena_data.splits.folds import deal_folds
from reward_model.calibration import calibration
from reward_model.calibration.bending import Bend, fit_bend
from reward_model.calibration.calibration import Calibration
from reward_model.calibration.pool_weights import fit_weights, weight_intervals
from reward_model.evaluation.probabilities import (
    FloatArray,
    check_groups,
    check_log_probs,
    check_verdicts,
    group_numbers,
    row_losses,
)

POOLINGS = ("logarithmic", "linear")
BENDS = ("auto", "on", "off")
RESAMPLES = 200
BENT = "bent"
# `auto` bends a blend where it gains more than so many standard errors in cross-validation.
SURE = 2.0


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
    normalised = _normalised(log_probs)
    shares = check_weights(weights, len(normalised))
    if pooling not in POOLINGS:
        raise ValueError(f"unknown pooling {pooling!r}; expected one of {', '.join(POOLINGS)}")
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
        log_loss: of each pooling in grouped cross-validation, weights and calibration fitted without the fold, in nats; with
            `bent`, that of the kept pooling with a bend, where one was tried.
        rows: number of battles the weights were fitted on.
        bend: a correction of the calibrated pool; None for none.

    Raises: ValueError for anything else.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    pooling: str = "logarithmic"
    calibration: Calibration = field(default_factory=Calibration)
    intervals: tuple[tuple[float, float], ...] = ()
    log_loss: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    bend: Bend | None = None

    def __post_init__(self) -> None:
        if not self.members or not all(isinstance(name, str) and name for name in self.members):
            raise ValueError(f"blend has members {list(self.members)!r}; expected at least one name")
        if self.pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {self.pooling!r}; expected one of {', '.join(POOLINGS)}")
        check_weights(self.weights, len(self.members))
        if not isinstance(self.calibration, Calibration):
            raise ValueError("blend has no calibration")
        if self.bend is not None and (not isinstance(self.bend, Bend) or self.bend.members != len(self.members)):
            raise ValueError(f"blend has a bend of other members than its {len(self.members)}")

    def apply(self, log_probs: Sequence[npt.ArrayLike]) -> FloatArray:
        """Calibrated log-probabilities, float64 [n, 3], of the members' float [n, 3], in the order of `members`."""
        pooled = self.calibration.apply(self.pool(log_probs))
        return pooled if self.bend is None else self.bend.apply(pooled, _normalised(log_probs))

    def pool(self, log_probs: Sequence[npt.ArrayLike]) -> FloatArray:
        """The same without calibration and bend."""
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
                "bend": None if stored.get("bend") is None else Bend.from_json(stored["bend"]),
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
    bend: str = "auto",
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
        bend: `on`, `off`, or `auto`: where cross-validation is sure (`SURE`) that it helps.

    Raises: ValueError for rows, groups or names that do not fit together.
    """
    if pooling not in ("auto", *POOLINGS):
        raise ValueError(f"unknown pooling {pooling!r}; expected one of auto, {', '.join(POOLINGS)}")
    if bend not in BENDS:
        raise ValueError(f"unknown bend {bend!r}; expected one of {', '.join(BENDS)}")
    logits = _check_members(log_probs)
    targets = check_verdicts(verdicts, logits.shape[1])
    names = check_groups(groups, logits.shape[1])
    part, folds = deal_folds(names, targets, seed)
    given = None if weights is None else check_weights(weights, len(logits))

    held_out = [part == fold for fold in range(folds)]
    fitted = [~out if folds > 1 else out for out in held_out]

    def of_folds(candidate: str) -> list[Blend]:
        groups_of = [[name for name, inside in zip(names, rows, strict=True) if inside] for rows in fitted]
        return [
            _fit_pooling(logits[:, rows], targets[rows], inner, candidate, seed, given)
            for rows, inner in zip(fitted, groups_of, strict=True)
        ]

    def losses_of(blends: Sequence[Blend]) -> FloatArray:
        losses = np.empty(len(targets))
        for out, blend in zip(held_out, blends, strict=True):
            losses[out] = row_losses(blend.apply(list(logits[:, out])), targets[out])
        return losses

    pooled = {candidate: of_folds(candidate) for candidate in (POOLINGS if pooling == "auto" else (pooling,))}
    each = {candidate: losses_of(blends) for candidate, blends in pooled.items()}
    chosen = min(each, key=lambda name: float(each[name].mean()))
    log_loss = {name: float(losses.mean()) for name, losses in each.items()}
    bent = bend == "on"
    # With one fold nothing is held out, and a bend would always seem to help.
    if bent or (bend == "auto" and folds > 1):
        losses = losses_of(
            [_bent(blend, logits[:, rows], targets[rows]) for blend, rows in zip(pooled[chosen], fitted, strict=True)]
        )
        log_loss[BENT] = float(losses.mean())
        bent = bent or _surely_less(losses - each[chosen], group_numbers(names))
    blend = _fit_pooling(logits, targets, names, chosen, seed, given)
    return replace(
        _bent(blend, logits, targets) if bent else blend,
        members=tuple(members) if members is not None else blend.members,
        intervals=()
        if given is not None
        else weight_intervals(logits, targets, group_numbers(names), chosen, seed, resamples),
        log_loss=log_loss,
        rows=len(targets),
    )


def _surely_less(differences: FloatArray, group_of_row: np.ndarray) -> bool:
    """Whether the mean is below 0 by more than `SURE` standard errors; battles of one group err together."""
    mean = float(differences.mean())
    by_group = np.bincount(group_of_row, differences - mean)
    return mean < -SURE * float(np.sqrt((by_group**2).sum())) / len(differences)


def _normalised(log_probs: Sequence[npt.ArrayLike]) -> FloatArray:
    """float64 [members, n, 3]. Raises: ValueError as `pool` does."""
    return np.stack([log_softmax(member, axis=1) for member in _check_members(log_probs)])


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
    logits: FloatArray,
    targets: FloatArray,
    names: Sequence[str],
    pooling: str,
    seed: int,
    given: FloatArray | None,
) -> Blend:
    weights = fit_weights(logits, targets, pooling) if given is None else given
    # Averaging narrows margins, and the map has to widen them again.
    fitted = calibration.fit(pool(list(logits), weights, pooling), targets, names, seed=seed, hold_narrow=False)
    numbers = tuple(str(member + 1) for member in range(len(logits)))
    return Blend(members=numbers, weights=tuple(weights.tolist()), pooling=pooling, calibration=fitted)


def _bent(blend: Blend, logits: FloatArray, targets: FloatArray) -> Blend:
    """The blend with a bend that is fitted on the rows that it was fitted on."""
    return replace(blend, bend=fit_bend(blend.apply(list(logits)), _normalised(list(logits)), targets))
