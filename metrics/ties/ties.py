"""`evaluate.load("metrics/ties")`: see `reward_model.evaluation.battle_metric`."""

from reward_model.evaluation import battle_metric as evaluate_modules


class Ties(evaluate_modules.BattleMetric):
    """Precision and recall of "a tie is the likeliest verdict"."""

    NAMES = ("tie_precision", "tie_recall")
