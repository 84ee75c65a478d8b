"""The table that a training run ends with."""

import pytest

from reward_model.cli.console.training_summary import print_summary

METRICS = {
    "battles": 37,
    "train_battles": 1710,
    "log_loss": 1.03125,
    "class_prior_log_loss": 1.0995,
    "accuracy": 0.5946,
    "brier_score": 0.61,
    "tie_rate_predicted": 0.29,
    "tie_rate_seen": 0.3,
    "intervals": {"log_loss": [0.97, 1.1], "accuracy": [0.4, 0.75]},
}


def test_every_figure_stands_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(METRICS, "runs/[bold]name")
    shown = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "37 battles held out, 1,710 trained on" in lines
    assert "validation log loss 1.0312 0.9700 to 1.1000" in lines
    assert "accuracy 0.595 0.400 to 0.750" in lines
    assert "of the class prior 1.0995" in lines and "Brier score 0.610" in lines
    assert "run in runs/[bold]name" in lines
    assert "style" not in shown and "\x1b" not in shown
