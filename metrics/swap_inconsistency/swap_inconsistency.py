"""`evaluate.load("metrics/swap_inconsistency")`: see `reward_model.evaluation.battle_metric`."""

from collections.abc import Sequence

from reward_model.evaluation import battle_metric as evaluate_modules
from reward_model.evaluation import metrics


class SwapInconsistency(evaluate_modules.BattleMetric):
    """How much the order of A and B matters: mean total variation distance, and the share of verdicts that flip."""

    NAMES = ("swap_distance", "swap_flips")
    REFERENCES = "the model's probabilities of the same battles with A and B exchanged, in its own columns"

    def _compute(
        self,
        predictions: Sequence[Sequence[float]],
        references: Sequence[Sequence[float]],
        groups: Sequence[str] | None = None,
        resamples: int = metrics.RESAMPLES,
        seed: int = 0,
    ) -> dict[str, float]:
        there, back = evaluate_modules.log_of(predictions), evaluate_modules.log_of(references)
        return evaluate_modules.flat(metrics.measure_swaps(there, back, groups, resamples, seed))
