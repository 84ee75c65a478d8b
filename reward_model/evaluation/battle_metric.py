"""What the modules under metrics/ share: they are loaded from the repository's folder, without a network.

    metric = evaluate.load("metrics/log_loss")
    metric.compute(predictions=probabilities, references=verdicts, groups=prompts)

predictions and references are rows of three numbers, for A, B and tie: probabilities, and verdicts one-hot or as shares.
`groups` names each row's prompt: intervals then draw whole prompts. `resamples` and `seed` are those of the bootstrap. Each
figure comes as NAME, NAME_low and NAME_high, the 95 % interval; see `reward_model.evaluation.metrics`.

evaluate (0.4.6) copies a module's file to a cache and takes the first metric class it finds in it, so a module imports this
one by name and defines nothing but its own class.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from reward_model.evaluation.metrics import Measured, measure
from reward_model.evaluation.probabilities import floored_log
from reward_model.evaluation.resampling import RESAMPLES

CITATIONS = {
    "calibration_error": "Kumar, Liang & Ma (2019), Verified Uncertainty Calibration",
    "brier_score": "Brier (1950), Verification of Forecasts Expressed in Terms of Probability",
}


class BattleMetric(evaluate.Metric):
    """Figures of predicted verdicts. NAMES: those of `reward_model.evaluation.metrics.STATISTICS` that a module gives."""

    NAMES: tuple[str, ...] = ()
    REFERENCES = "verdicts: three shares of 1 each, one-hot for a single vote"

    def _info(self) -> evaluate.MetricInfo:
        three = datasets.Sequence(datasets.Value("float64"), length=3)
        cited = [text for part, text in CITATIONS.items() if any(part in name for name in self.NAMES)]
        return evaluate.MetricInfo(
            description=type(self).__doc__ or "",
            citation="; ".join(cited),
            inputs_description=f"predictions: probabilities of A, B and tie; references: {self.REFERENCES}",
            features=datasets.Features({"predictions": three, "references": three}),
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[Sequence[float]],
        groups: Sequence[str] | None = None,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> dict[str, Any]:
        return flat(measure(log_of(predictions), references, groups, self.NAMES, resamples, seed))


def log_of(probabilities: Sequence[Sequence[float]]) -> np.ndarray:
    """float64 [n, 3], `rows.FLOOR` for 0. Raises: ValueError for rows that are not three shares of 1."""
    checked = np.asarray(probabilities, dtype=np.float64).reshape(-1, 3)
    wrong = ~((checked >= 0).all(axis=1) & (np.abs(checked.sum(axis=1) - 1) < 1e-3))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"prediction of row {row + 1} is {checked[row].tolist()}; expected three probabilities")
    return floored_log(checked)


def flat(found: Mapping[str, Measured]) -> dict[str, float]:
    """NAME, NAME_low and NAME_high of each figure."""
    figures: dict[str, float] = {}
    for name, measured in found.items():
        figures |= {name: measured.value, f"{name}_low": measured.low, f"{name}_high": measured.high}
    return figures
