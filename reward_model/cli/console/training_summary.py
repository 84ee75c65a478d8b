"""What a training run ends with: one table of its figures on battles that it has not learned from.

Source: https://rich.readthedocs.io/en/stable/tables.html.
"""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from reward_model.run_directory.curves import CLASS_PRIOR, STYLE_ALONE

# Key in the figures, the words for it, digits.
_FIGURES = (
    ("log_loss", "validation log loss", 4),
    ("log_loss_uncalibrated", "  before calibration", 4),
    (CLASS_PRIOR, "  of the class prior", 4),
    (STYLE_ALONE, "  of style alone, on the training battles", 4),
    ("accuracy", "accuracy", 3),
    ("brier_score", "Brier score", 3),
    ("tie_rate_predicted", "share of ties, predicted", 3),
    ("tie_rate_seen", "share of ties, seen", 3),
)


def training_summary(metrics: Mapping[str, Any]) -> Table:
    """metrics: as `reward_model.train.finish.finish_run` gives them. A figure that is absent has no row."""
    battles = f"{metrics['battles']:,} battles held out, {metrics['train_battles']:,} trained on"
    table = Table("", "", "95 %", title=battles, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for key, words, digits in _FIGURES:
        if key in metrics:
            ends = metrics["intervals"].get(key)  # none where there are too few prompts
            interval = f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}" if ends else ""
            table.add_row(words, f"{metrics[key]:.{digits}f}", interval)
    return table


def print_summary(metrics: Mapping[str, Any], directory: str) -> None:
    """To standard output, plain where that is no terminal; the run's directory on a line of its own, to copy."""
    Console(highlight=False).print(training_summary(metrics))
    print(f"run in {directory}")
