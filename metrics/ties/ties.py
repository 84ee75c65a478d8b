"""`evaluate.load("metrics/ties")`: see `reward_model.evaluate_modules`."""

from reward_model import evaluate_modules


class Ties(evaluate_modules.BattleMetric):
    """Precision and recall of "a tie is the likeliest verdict"."""

    NAMES = ("tie_precision", "tie_recall")
