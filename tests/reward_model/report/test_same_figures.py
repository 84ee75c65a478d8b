"""Terminal, report, model card and metrics.json say the same of the same predictions."""

import re
from typing import Any

import datasets
import numpy as np
import pytest
from scipy.special import log_softmax

from arena_data.loading import load_battles
from reward_model.calibration.calibration import Calibration
from reward_model.evaluation.quality import SHOWN, quality_line
from reward_model.report.data import PRIOR, ReportData
from reward_model.report.page import report_json
from reward_model.report.quality_sections import head_tiles
from reward_model.run_directory.card_sections import calibration_section
from reward_model.train.finish import validation_metrics

SHARES = np.array([0.4, 0.35, 0.25])


@pytest.fixture(scope="module")
def battles() -> datasets.Dataset:
    loaded = load_battles("arena_data/sample.csv", labels="required")
    assert isinstance(loaded, datasets.Dataset)
    return loaded.select(range(60))


@pytest.fixture(scope="module")
def log_probs(battles: datasets.Dataset) -> np.ndarray:
    random = np.random.default_rng(0)
    return log_softmax(random.standard_normal((len(battles), 3)) + 0.5 * np.asarray(battles["verdict"][:]), axis=1)


def test_one_run_has_one_set_of_figures(battles: datasets.Dataset, log_probs: np.ndarray) -> None:
    prior = np.log(np.tile(SHARES, (len(battles), 1)))
    data = ReportData(battles, log_probs, peers={PRIOR: prior, "worse": np.log(np.tile([0.8, 0.1, 0.1], (60, 1)))})
    report = report_json(data)
    line = quality_line(battles, log_probs)
    card = calibration_section(Calibration(), report, [])
    metrics: Any = validation_metrics(log_probs, data.verdicts, SHARES, data.groups)
    assert line is not None
    for name, shown in SHOWN.items():
        figure = report["quality"]["metrics"][name]
        assert f"{shown} {figure['value']:.4f} ({figure['low']:.4f} to {figure['high']:.4f})" in line
        row = f"| {shown} | {figure['value']:.3f} | {figure['low']:.3f} to {figure['high']:.3f} |"
        assert row in card
        if name in metrics:
            assert metrics[name] == pytest.approx(figure["value"], abs=1e-12)
            assert metrics["intervals"][name] == pytest.approx([figure["low"], figure["high"]], abs=1e-12)
    # The headline's gain is over the best peer, whose log loss metrics.json has too.
    gain = metrics["class_prior_log_loss"] - metrics["log_loss"]
    assert report["quality"]["peers"][PRIOR]["gain"]["value"] == pytest.approx(gain, abs=1e-12)
    [tile] = [tile for tile in head_tiles(report) if tile.name.startswith("gain over")]
    assert tile.name == "gain over class prior" and float(tile.value.replace("−", "-")) == pytest.approx(gain, abs=1e-4)


def test_soft_verdicts_count_by_their_shares_everywhere(battles: datasets.Dataset, log_probs: np.ndarray) -> None:
    soft = np.random.default_rng(1).dirichlet([1, 1, 1], size=len(battles))
    voted = battles.remove_columns("verdict").add_column("verdict", soft.tolist())
    line = quality_line(voted, log_probs)
    metrics = validation_metrics(log_probs, soft, SHARES, list(voted["group"]))
    assert line is not None and f"accuracy {metrics['accuracy']:.4f} " in line


@pytest.mark.parametrize("rows", [1, 2, 5, 12])
def test_a_figure_that_few_battles_do_not_define_is_left_out(
    battles: datasets.Dataset, log_probs: np.ndarray, rows: int
) -> None:
    line = quality_line(battles.select(range(rows)), log_probs[:rows])
    assert line is not None and "nan" not in line and "log loss" in line
    assert re.match(r"1 labelled battle: log loss \d\.\d{4}, " if rows == 1 else rf"{rows} labelled battles: ", line)
