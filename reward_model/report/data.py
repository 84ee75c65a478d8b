"""What a report is about: labelled battles, what the model said of them, and what it is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np

if TYPE_CHECKING:
    from reward_model.report.usable import Usable

Figures = dict[str, Any]

PRIOR = "class prior"  # the peer that slices are compared with


@dataclass(frozen=True)
class ReportData:
    """All that a report needs; arrays are taken as float64.

    Args:
        battles: columns of `arena_data.schema.FEATURES`, n of them, each with a verdict.
        log_probs: float [n, 3], calibrated log-probabilities of A, B, tie.
        log_probs_raw: the same before calibration; None where nothing was calibrated.
        truncated: bool [n], whether the model saw less than the whole battle; None where it is not known.
        peers: name to log-probabilities float [n, 3] of other systems on the same battles, made without seeing their
            verdicts; `PRIOR` among them is what slices are compared with.
        audit: the result of `reward_model.audit.audit.audit`; None leaves the audit out.
        audit_style_off: the same with the style head closed; None where the model has none.
        usable: what a model with an absolute zero says of single responses; None for another.
        facts: what a reader should know of the run, name to value.
        have_prior: how many of all predicted battles could not be scored, and have the prior.

    Raises: ValueError for no battles, one without a verdict, or an array of another shape or with NaN.
    """

    battles: datasets.Dataset
    log_probs: np.ndarray
    log_probs_raw: np.ndarray | None = None
    truncated: np.ndarray | None = None
    peers: Mapping[str, np.ndarray] = field(default_factory=dict)
    audit: Figures | None = None
    audit_style_off: Figures | None = None
    usable: "Usable | None" = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    have_prior: int = 0

    def __post_init__(self) -> None:
        rows = len(self.battles)
        voted = self.battles["verdict"][:]
        if not voted or None in voted:
            raise ValueError("a report needs battles, each with a verdict")
        arrays = {"log_probs": self.log_probs, "log_probs_raw": self.log_probs_raw, **self.peers}
        for name, array in arrays.items():
            if array is not None and (np.shape(array) != (rows, 3) or np.isnan(array).any()):
                raise ValueError(f"{name} has shape {np.shape(array)}, or NaN; expected numbers ({rows}, 3)")
        if self.truncated is not None and np.shape(self.truncated) != (rows,):
            raise ValueError(f"truncated has shape {np.shape(self.truncated)}; expected ({rows},)")

    @cached_property
    def verdicts(self) -> np.ndarray:
        """float64 [n, 3]."""
        return np.asarray(self.battles["verdict"][:], np.float64)

    @cached_property
    def groups(self) -> list[str]:
        """[n]: equal for battles of one prompt."""
        groups: list[str] = self.battles["group"][:]
        return groups
