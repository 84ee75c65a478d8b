"""`evaluate.load("metrics/accuracy")`: see `reward_model.evaluate_modules`."""

from reward_model import evaluate_modules


class Accuracy(evaluate_modules.BattleMetric):
    """How often the likeliest verdict is the one given; a soft verdict counts by its share."""

    NAMES = ("accuracy",)
