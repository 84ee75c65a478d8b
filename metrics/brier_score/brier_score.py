"""`evaluate.load("metrics/brier_score")`: see `reward_model.evaluation.battle_metric`."""

from reward_model.evaluation import battle_metric as evaluate_modules


class BrierScore(evaluate_modules.BattleMetric):
    """Mean squared distance of the three probabilities from the verdict, 0 to 2."""

    NAMES = ("brier_score",)
