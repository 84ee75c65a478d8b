"""Any Python function audited: `audit_judge(judge, battles)`, where the function gives probabilities of battles."""

from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from reward_model.audit.audit import MAX_BATTLES, Figures, audit
from reward_model.evaluation.probabilities import floored_log

Judge = Callable[[datasets.Dataset], npt.ArrayLike]
_SUM_TOLERANCE = 1e-3


def audit_judge(
    judge: Judge, battles: datasets.Dataset, max_battles: int = MAX_BATTLES, *, seed: int = 0, progress: bool = False
) -> Figures:
    """`reward_model.audit.audit.audit` of a function.

    Args:
        judge: battles (columns prompt, response_a, response_b and others) to P(A), P(B), P(tie), float [n, 3].
        battles: as `load_battles` gives them, each with a verdict.
        max_battles, seed, progress: as of the audit.

    Raises: ValueError for answers that are no probabilities, or battles without a verdict.
    """

    def predict(asked: datasets.Dataset) -> Any:
        answer = np.asarray(judge(asked), dtype=np.float64)
        if answer.shape != (len(asked), 3):
            raise ValueError(f"the judge's answer has shape {answer.shape}; expected ({len(asked)}, 3): A, B, tie")
        if not (np.isfinite(answer).all() and (answer >= 0).all()):
            raise ValueError("the judge's answer holds numbers below 0, or NaN; expected probabilities")
        if not np.allclose(answer.sum(axis=1), 1, atol=_SUM_TOLERANCE):
            raise ValueError("the judge's answers do not sum to 1; expected P(A), P(B), P(tie)")
        return floored_log(answer)

    return audit(battles, predict(battles), predict, max_battles, seed=seed, progress=progress)
