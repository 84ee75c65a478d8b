"""`evaluate.load("metrics/log_loss")`: see `reward_model.evaluation.battle_metric`."""

from reward_model.evaluation import battle_metric as evaluate_modules


class LogLoss(evaluate_modules.BattleMetric):
    """Mean cross-entropy in nats, what the competitions rank by; 1.0986 for thirds."""

    NAMES = ("log_loss",)
