"""Columns that a submission may have beside the probabilities: rewards of both responses, and verdict sets."""

import numpy as np
import numpy.typing as npt

from reward_model.calibration.verdict_sets import BoolArray, verdict_sets
from reward_model.predict.predictor import Prediction


def reward_columns(prediction: Prediction) -> dict[str, npt.NDArray[np.float64]]:
    """By name, [n] each: what the one member says of the responses; nothing where it has no rewards."""
    scores = prediction.members[0].scores
    if scores is None:
        return {}
    columns = {
        "reward_a": scores.reward_a,
        "reward_b": scores.reward_b,
        "margin": scores.margin,
        "tie_strength": scores.tie_strength,
    }
    if scores.grounded:
        from reward_model.model.four_outcomes import usable  # seconds to import

        columns |= {"usable_a": usable(scores.reward_a), "usable_b": usable(scores.reward_b)}
    return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}


def sets_of(prediction: Prediction, threshold: float) -> BoolArray:
    """bool [n, 3]: the labels in each battle's verdict set; all of them where the battle could not be scored."""
    return verdict_sets(prediction.log_probs, threshold) | prediction.failed[:, None]
