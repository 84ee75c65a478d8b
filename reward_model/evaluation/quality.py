"""What predictions are worth where the verdicts are known, in one line."""

import datasets
import numpy as np

from reward_model.evaluation.metrics import measure
from reward_model.evaluation.probabilities import FloatArray

SHOWN = {
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "brier_score": "Brier score",
    "classwise_calibration_error": "calibration error",
}
RESAMPLES = 200


def quality_line(battles: datasets.Dataset, log_probs: FloatArray) -> str | None:
    """Figures of the labelled ones among the battles, 95 % intervals resampled by prompt; None where there are none."""
    verdicts = list(battles["verdict"])
    labelled = np.array([verdict is not None for verdict in verdicts], dtype=bool)
    if not labelled.any():
        return None
    known = np.asarray([verdict for verdict in verdicts if verdict is not None])
    groups = [group for group, kept in zip(battles["group"], labelled, strict=True) if kept]
    found = measure(log_probs[labelled], known, groups, tuple(SHOWN), resamples=RESAMPLES)
    figures = (f"{SHOWN[name]} {m.value:.4f} ({m.low:.4f} to {m.high:.4f})" for name, m in found.items())
    return f"{len(known):,} labelled battles: {', '.join(figures)}"
