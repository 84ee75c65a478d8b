"""`evaluate.load("metrics/accuracy")`: see `reward_model.evaluation.battle_metric`."""

from reward_model.evaluation import battle_metric as evaluate_modules


class Accuracy(evaluate_modules.BattleMetric):
    """How often the likeliest verdict is the one given; a soft verdict counts by its share."""

    NAMES = ("accuracy",)
