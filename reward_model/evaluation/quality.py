"""What predictions are worth where the verdicts are known: one source for terminal, report and model card."""

from collections.abc import Sequence

import datasets
import numpy as np
import numpy.typing as npt

from reward_model.evaluation.metrics import STATISTICS, measure
from reward_model.evaluation.probabilities import FloatArray
from reward_model.evaluation.resampling import Estimate

SHOWN = {
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "brier_score": "Brier score",
    "classwise_calibration_error": "calibration error",
}


def quality(
    log_probs: npt.ArrayLike,
    verdicts: npt.ArrayLike,
    groups: Sequence[str],
    names: Sequence[str] = tuple(STATISTICS),
) -> dict[str, Estimate]:
    """Figures by name with 95 % intervals, as plain numbers; None where a figure or an interval is not defined.

    Args: as for `reward_model.evaluation.metrics.measure`.
    Raises: as `measure`.
    """
    figures: dict[str, Estimate] = {}
    for name, figure in measure(log_probs, verdicts, groups, names).items():
        plain = figure.to_json()
        # Near its floor of 0, a reflected interval may leave out the figure that it is about; it then says nothing.
        if not figure.low <= figure.value <= figure.high:
            plain |= {"low": None, "high": None}
        figures[name] = plain | {"battles": len(np.asarray(verdicts))}
    return figures


def quality_line(battles: datasets.Dataset, log_probs: FloatArray) -> str | None:
    """Figures of the labelled ones among the battles, with their intervals; None where there are none.

    A figure that so few battles do not define is left out.
    """
    verdicts = list(battles["verdict"])
    labelled = np.array([verdict is not None for verdict in verdicts], dtype=bool)
    if not labelled.any():
        return None
    known = np.asarray([verdict for verdict in verdicts if verdict is not None])
    groups = [group for group, kept in zip(battles["group"], labelled, strict=True) if kept]
    figures = quality(log_probs[labelled], known, groups, tuple(SHOWN))
    texts = [f"{SHOWN[name]} {_text(figure)}" for name, figure in figures.items() if figure["value"] is not None]
    return f"{len(known):,} labelled battle{'' if len(known) == 1 else 's'}: {', '.join(texts)}"


def _text(figure: Estimate) -> str:
    interval = "" if figure["low"] is None else f" ({figure['low']:.4f} to {figure['high']:.4f})"
    return f"{figure['value']:.4f}{interval}"
