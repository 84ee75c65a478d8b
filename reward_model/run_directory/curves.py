"""The picture of a run's learning curves: training loss, smoothed, and validation log loss beside simple systems'."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

SMOOTHED_SHARE = 0.05  # of the run, over which the training loss is averaged
Z = 1.96  # standard errors on either side of a mean: 95 %

# Entries of `metrics`: what one learns from the verdicts' shares alone, and from style alone.
CLASS_PRIOR, STYLE_ALONE = "class_prior_log_loss", "style_log_loss"


def curves_png(log_history: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], name: str) -> bytes | None:
    """A PNG against the optimizer step; None without losses.

    Args:
        log_history: `trainer.state.log_history`.
        metrics: of the run; `CLASS_PRIOR` and `STYLE_ALONE` are drawn as lines where they are known.
        name: of the run.
    """
    from matplotlib.figure import Figure  # reading a run needs none of it

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    training, validation = _points(log_history, "loss"), _points(log_history, "eval_log_loss")
    if training:
        steps, losses = zip(*training, strict=True)
        axes.plot(steps, losses, color="#8b8f96", linewidth=0.8, alpha=0.35)
        axes.plot(steps, smoothed(losses), color="#5b616b", linewidth=1.6, label="training loss, smoothed")
    if validation:
        steps, losses = zip(*validation, strict=True)
        errors = dict(_points(log_history, "eval_log_loss_standard_error"))
        reach = [Z * errors.get(step, 0.0) for step in steps]
        style: dict[str, Any] = {"color": "#0072b2", "marker": "o", "markersize": 4, "capsize": 3}
        axes.errorbar(steps, losses, yerr=reach, label="validation log loss, 95 % interval", **style)
    if not (training or validation):
        return None
    for key, words, colour in ((CLASS_PRIOR, "class prior", "#d55e00"), (STYLE_ALONE, "style alone", "#009e73")):
        value = metrics.get(key)
        if value is not None and is_number(value):
            axes.axhline(value, color=colour, linestyle="--", linewidth=1.2, label=f"{words}, {value:.4f}")
    axes.set(
        xlabel="optimizer step", ylabel="log loss, nats a battle", title=" ".join(name.split()) or "Learning curves"
    )
    axes.title.set_parse_math(False)  # a folder may have a dollar sign in its name
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})  # the canvas is Agg's, whatever the backend
    return image.getvalue()


def smoothed(losses: Sequence[float]) -> list[float]:
    """Exponential moving averages over `SMOOTHED_SHARE` of the losses, with Adam's correction for the start at zero."""
    decay = 1 - 1 / max(SMOOTHED_SHARE * len(losses), 1)
    mean, weight, means = 0.0, 0.0, []
    for loss in losses:
        mean, weight = decay * mean + (1 - decay) * loss, decay * weight + (1 - decay)
        means.append(mean / weight)
    return means


def _points(log_history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    return [(row["step"], row[key]) for row in log_history if is_number(row.get(key)) and "step" in row]


def is_number(value: Any) -> bool:
    """Whether a value can be shown as a figure: finite, and neither text nor a truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
