"""`evaluate.load("metrics/classwise_calibration_error")`: see `reward_model.evaluation.battle_metric`."""

from reward_model.evaluation import battle_metric as evaluate_modules


class ClasswiseCalibrationError(evaluate_modules.BattleMetric):
    """The same for A, B and tie each, averaged on the scale of squares."""

    NAMES = ("classwise_calibration_error",)
