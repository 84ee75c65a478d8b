"""`evaluate.load("metrics/top_label_calibration_error")`: see `reward_model.evaluate_modules`."""

from reward_model import evaluate_modules


class TopLabelCalibrationError(evaluate_modules.BattleMetric):
    """Root of the debiased squared gap between the likeliest verdict's probability and how often it comes."""

    NAMES = ("top_label_calibration_error",)
