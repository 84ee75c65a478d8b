"""`evaluate.load("metrics/top_label_calibration_error")`: see `reward_model.evaluation.battle_metric`."""

from reward_model.evaluation import battle_metric as evaluate_modules


class TopLabelCalibrationError(evaluate_modules.BattleMetric):
    """Root of the debiased squared gap between the likeliest verdict's probability and how often it comes."""

    NAMES = ("top_label_calibration_error",)
