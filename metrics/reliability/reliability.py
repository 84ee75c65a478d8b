"""`evaluate.load("metrics/reliability")`: see `reward_model.evaluation.battle_metric`."""

from collections.abc import Sequence
from typing import Any

from reward_model.evaluation import battle_metric as evaluate_modules
from reward_model.evaluation import metrics, reliability


class Reliability(evaluate_modules.BattleMetric):
    """Reliability curves of A, B and tie: bins of about equal counts, with what was predicted in each and what came."""

    NAMES = ("reliability",)

    def _compute(
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[Sequence[float]],
        groups: Sequence[str] | None = None,
        bins: int = reliability.BINS,
        resamples: int = metrics.RESAMPLES,
        seed: int = 0,
    ) -> dict[str, Any]:
        log_probs = evaluate_modules.log_of(predictions)
        curves = metrics.measure_reliability(log_probs, references, groups, bins, resamples, seed)
        return {
            f"reliability_{label}": [
                {"predicted": point.predicted, "battles": point.battles, "observed": point.observed.value}
                | {"low": point.observed.low, "high": point.observed.high}
                for point in curve
            ]
            for label, curve in curves.items()
        }
