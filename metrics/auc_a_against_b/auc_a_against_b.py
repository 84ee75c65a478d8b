"""`evaluate.load("metrics/auc_a_against_b")`: see `reward_model.evaluation.battle_metric`."""

from reward_model.evaluation import battle_metric as evaluate_modules


class AucAAgainstB(evaluate_modules.BattleMetric):
    """How often a battle won by A has a larger margin than one won by B: ties left out, 0.5 for chance."""

    NAMES = ("auc_a_against_b",)
