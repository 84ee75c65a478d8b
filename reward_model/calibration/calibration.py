"""Calibration: makes predicted probabilities mean what they say, by a map fitted on battles the model has not seen.

The maps are those of `reward_model.calibration.maps`. `auto` does not choose between the swap-exact ones of `AVERAGED`: it
averages them, and what it stores is one map. All are points of the parity-curved family, where the log loss is convex, so
the average is never worse than the weighted mean of its parts. The weights are

    w_m  proportional to  exp(-EVIDENCE * groups * held-out log loss of m),

log loss in grouped cross-validation, counted once a prompt. A map of more parameters pays for them there: one that only
fits noise raises the held-out loss. Held-out losses of the same rows are not independent, and EVIDENCE below 1 keeps a
chance lead from taking all the weight. No calibration is one of the maps, and the average is stored only if it beats it.

`auto` keeps to maps that cannot favour a side, so a model that is swap-exact stays so to the last bit. With
`swap_exact=False` the other maps are tried too, and one of them is taken if it beats the average by more than two
standard errors of their paired difference, by prompt: it costs the model's symmetry, and is only worth it where the votes
really are lopsided.

The thresholds of verdict sets (`reward_model.calibration.verdict_sets`) come from the same battles, each mapped by the fit
that has not seen its fold. The map that is stored has seen them all, so that their coverage is nearly, and not exactly,
that of battles kept apart; docs/LOG.md has what it measures.

Source: Yao et al. (2018), "Using Stacking to Average Bayesian Predictive Distributions", section 2.3 (pseudo-BMA);
Grunwald (2012), "The Safe Bayesian", for evidence to a power below 1.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from arena_data.splits.folds import deal_folds
from reward_model.calibration.maps import (
    METHODS,
    PARAMETERS,
    POSITIVE,
    SWAP_EXACT,
    apply_map,
    fit_map,
    parity_point,
    strengths,
)
from reward_model.calibration.verdict_sets import check_thresholds, set_thresholds
from reward_model.evaluation.probabilities import (
    FloatArray,
    IntArray,
    check_groups,
    check_log_probs,
    check_verdicts,
    group_numbers,
    log_loss,
    row_losses,
)

AVERAGED = ("none", "temperature", "parity_affine", "parity_curved")
EVIDENCE = 0.5
# How many standard errors a map that may favour a side must win by.
WORTH_ITS_ASYMMETRY = 2.0


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
        averaged: the weight of each map in an average that `auto` made; empty otherwise.
        set_thresholds: those of verdict sets, by percent of coverage; empty if it was not fitted.

    Raises: ValueError for an unknown method, or parameters that are not the method's, not finite or out of range.
    """

    method: str = "none"
    parameters: dict[str, float] = field(default_factory=dict)
    log_loss_before: float | None = None
    log_loss_after: float | None = None
    rows: int = 0
    folds: int = 0
    seed: int = 0
    averaged: dict[str, float] = field(default_factory=dict)
    set_thresholds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_method(self.method, METHODS)
        expected = PARAMETERS[self.method]
        if not isinstance(self.parameters, dict) or set(self.parameters) != set(expected):
            found = sorted(map(str, self.parameters)) if isinstance(self.parameters, Mapping) else self.parameters
            raise ValueError(f"calibration {self.method!r} has parameters {found!r}; expected {list(expected)}")
        for name, value in self.parameters.items():
            if not _is_finite(value):
                raise ValueError(f"calibration parameter {name!r} is {value!r}; expected a finite number")
            if name in POSITIVE and value <= 0:
                raise ValueError(f"calibration parameter {name!r} is {value!r}; expected a number above 0")
        for name in ("log_loss_before", "log_loss_after"):
            if (value := getattr(self, name)) is not None and not _is_finite(value):
                raise ValueError(f"calibration {name!r} is {value!r}; expected a finite number or null")
        for name in ("rows", "folds", "seed"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"calibration {name!r} is {getattr(self, name)!r}; expected an integer")
        if not isinstance(self.averaged, dict) or not all(_is_finite(share) for share in self.averaged.values()):
            raise ValueError(f"calibration 'averaged' is {self.averaged!r}; expected a number by method")
        check_thresholds(self.set_thresholds)

    def apply(self, log_probs: npt.ArrayLike) -> FloatArray:
        """Calibrated log-probabilities.

        Args:
            log_probs: float [n, 3], log P(A), log P(B), log P(tie); -inf counts as `FLOOR`.

        Returns:
            float64 [n, 3], finite, normalised.

        Raises: ValueError for another shape, NaN or +inf.
        """
        return apply_map(self.method, self.parameters, check_log_probs(log_probs))

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
    swap_exact: bool = True,
    hold_narrow: bool = True,
) -> Calibration:
    """Fits a map on battles that the model was not trained on.

    Args:
        log_probs: float [n, 3], log P(A), log P(B), log P(tie).
        verdicts: float [n, 3], one-hot or soft, each row sums to 1.
        groups: [n], rows of one group (one prompt) stay in one fold; None: every row is its own group.
        method: one of `METHODS`, or `auto`.
        seed: of the folds.
        swap_exact: let `auto` keep to maps that cannot favour a side.
        hold_narrow: as in `reward_model.calibration.maps.fit_map`.

    Returns:
        the map fitted on all rows, with its log loss in cross-validation.

    Raises: ValueError for an unknown method, no rows, or rows of a wrong shape, sum or value.
    """
    _check_method(method, ("auto", *METHODS))
    checked = check_log_probs(log_probs)
    targets = check_verdicts(verdicts, len(checked))
    names = check_groups(groups, len(checked))
    part, folds = deal_folds(names, targets, seed)
    rows = _Rows(checked, targets, group_numbers(names), part, folds, hold_narrow)
    if method != "auto":
        candidate = _candidate(rows, method)
    elif folds < 2:
        candidate = _candidate(rows, "none")
    else:
        candidate = _average(rows)
        if not swap_exact:
            others = [_candidate(rows, name) for name in METHODS if name not in SWAP_EXACT]
            best = min(others, key=lambda other: float(other.losses.mean()))
            if _wins(best.losses, candidate.losses, rows.group_of_row, WORTH_ITS_ASYMMETRY):
                candidate = best
    return Calibration(
        method=candidate.method,
        parameters=candidate.parameters,
        log_loss_before=log_loss(apply_map("none", {}, checked), targets),
        log_loss_after=float(candidate.losses.mean()),
        rows=len(checked),
        folds=folds if folds > 1 else 0,
        seed=seed,
        averaged=candidate.averaged,
        set_thresholds=set_thresholds(_held_out_log_probs(rows, candidate.method, candidate.by_fold), targets, names),
    )


@dataclass(frozen=True)
class _Rows:
    """What is fitted on: float64 [n, 3] twice, the number of each row's group, its fold, and how many folds there are."""

    log_probs: FloatArray
    verdicts: FloatArray
    group_of_row: IntArray
    part: IntArray
    folds: int
    hold_narrow: bool


@dataclass(frozen=True)
class _Candidate:
    """A map fitted on all rows; the same fitted without each fold; and float64 [n], its log loss on that fold's rows."""

    method: str
    parameters: dict[str, float]
    by_fold: list[dict[str, float]]
    losses: FloatArray
    averaged: dict[str, float] = field(default_factory=dict)


def _candidate(rows: _Rows, method: str) -> _Candidate:
    """A map at the strength of least held-out log loss."""
    tried = []
    for strength in strengths(method):

        def fitted(inside: np.ndarray, strength: float = strength) -> dict[str, float]:
            return fit_map(method, rows.log_probs[inside], rows.verdicts[inside], strength, rows.hold_narrow)

        by_fold = [fitted(rows.part != fold if rows.folds > 1 else rows.part == fold) for fold in range(rows.folds)]
        losses = _held_out_losses(rows, method, by_fold)
        tried.append((float(losses.mean()), fitted, by_fold, losses))
    _, best, by_fold, losses = min(tried, key=lambda one: one[0])
    return _Candidate(method, best(np.full(len(rows.part), True)), by_fold, losses)


def _held_out_losses(rows: _Rows, method: str, by_fold: Sequence[Mapping[str, float]]) -> FloatArray:
    return row_losses(_held_out_log_probs(rows, method, by_fold), rows.verdicts)


def _held_out_log_probs(rows: _Rows, method: str, by_fold: Sequence[Mapping[str, float]]) -> FloatArray:
    """float64 [n, 3]: each battle mapped by the fit that has not seen its fold."""
    mapped = np.empty_like(rows.log_probs)
    for fold, parameters in enumerate(by_fold):
        out = rows.part == fold
        mapped[out] = apply_map(method, parameters, rows.log_probs[out])
    return mapped


def _average(rows: _Rows) -> _Candidate:
    """The swap-exact maps averaged by what they are worth; none where that is not better than none."""
    parts = [_candidate(rows, method) for method in AVERAGED]
    groups = int(rows.group_of_row.max()) + 1
    evidence = np.array([-EVIDENCE * groups * part.losses.mean() for part in parts])
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()

    def averaged(of: Callable[[_Candidate], Mapping[str, float]]) -> dict[str, float]:
        points = np.stack([parity_point(part.method, of(part)) for part in parts])
        values = (weights @ points).tolist()
        return dict(zip(PARAMETERS["parity_curved"], values, strict=True))

    by_fold = [averaged(lambda part, fold=fold: part.by_fold[fold]) for fold in range(rows.folds)]  # type: ignore[misc]
    losses = _held_out_losses(rows, "parity_curved", by_fold)
    if losses.mean() >= parts[0].losses.mean():
        return parts[0]
    shares = {part.method: float(weight) for part, weight in zip(parts, weights, strict=True)}
    return _Candidate("parity_curved", averaged(lambda part: part.parameters), by_fold, losses, shares)


def _wins(losses: FloatArray, over: FloatArray, group_of_row: IntArray, standard_errors: float) -> bool:
    """Whether the mean is lower by more than so many standard errors; rows of a group err together."""
    gain = over - losses
    by_group = np.bincount(group_of_row, weights=gain - gain.mean())
    return bool(gain.mean() > standard_errors * np.sqrt((by_group**2).sum()) / len(gain))


def _check_method(method: Any, known: Sequence[str]) -> None:
    if method not in known:
        raise ValueError(f"unknown calibration method {method!r}; expected one of {', '.join(known)}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
