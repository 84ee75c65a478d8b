"""The model card's pictures, as PNG, of the figures that `predict.py --json` prints for labelled battles."""

import io
from collections.abc import Callable
from typing import Any

from arena_data.webpage.drawing import ACCENT, GRID, MUTED, VERDICT_COLOURS
from reward_model.report.numbers import changed_rows
from reward_model.run_directory.settings import BIAS, RELIABILITY

Figures = dict[str, Any]


def draw_reliability(figures: Figures) -> bytes | None:
    """Predicted probability against the share that was seen, for A, B and tie."""
    curves = figures["calibration"]["after"]["curves"]
    figure, axes = _canvas(4.4)
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
    for label, rows in curves.items():
        seen = [row["seen"]["value"] for row in rows]
        axes.plot([row["predicted"] for row in rows], seen, "o-", color=VERDICT_COLOURS[label], label=label)
    axes.set(xlabel="predicted probability", ylabel="share of battles", title="Reliability", xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False)
    return _png(figure)


def draw_bias(figures: Figures) -> bytes | None:
    """Effect of formatting alone on the win share of a response; None where no audit was made."""
    rows = changed_rows(figures["audit"]) if figures.get("audit") else []
    if not rows:
        return None
    figure, axes = _canvas(1.2 + 0.3 * len(rows))
    for place, row in enumerate(rows):
        gain = row["win_share"]
        low, high = (gain["value"] if gain[end] is None else gain[end] for end in ("low", "high"))
        axes.plot([100 * low, 100 * high], [place, place], color=ACCENT)
        axes.plot([100 * gain["value"]], [place], "o", color=ACCENT)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel="points of win share, 95 % intervals", title="Effect of formatting alone")
    return _png(figure)


# Name in the repository: what draws it.
PICTURES: dict[str, Callable[[Figures], bytes | None]] = {RELIABILITY: draw_reliability, BIAS: draw_bias}


def _canvas(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # loading a model needs none of it

    figure = Figure(figsize=(7, height), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Any) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
