"""`evaluate.load("metrics/brier_score")`: see `reward_model.evaluate_modules`."""

from reward_model import evaluate_modules


class BrierScore(evaluate_modules.BattleMetric):
    """Mean squared distance of the three probabilities from the verdict, 0 to 2."""

    NAMES = ("brier_score",)
