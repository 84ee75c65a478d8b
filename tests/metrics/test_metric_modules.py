"""The modules under metrics/ as evaluate loads them: from files, with no network, alone and combined."""

import os
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
import sklearn.metrics
from scipy.special import log_softmax

from reward_model.evaluation.metrics import STATISTICS, measure, measure_reliability

REPOSITORY = Path(__file__).parents[2]
MODULES = sorted(path.name for path in (REPOSITORY / "metrics").iterdir() if path.is_dir() and path.name[0] not in "._")


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Probabilities, verdicts, and prompts that two battles share."""
    generator = np.random.default_rng(0)
    probabilities = np.exp(log_softmax(generator.normal(0, 1, (240, 3)), axis=1))
    verdicts = np.eye(3)[(generator.random((240, 1)) > probabilities.cumsum(axis=1)[:, :2]).sum(axis=1)]
    return probabilities, verdicts, [f"prompt {row // 2}" for row in range(240)]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_connection(*_: object) -> None:
        raise AssertionError("a module under metrics/ opened a connection")

    monkeypatch.setattr("socket.socket.connect", no_connection)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_gives_the_projects_own_figures(name: str, rows: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    probabilities, verdicts, groups = rows
    metric = evaluate.load(str(REPOSITORY / "metrics" / name))
    if name in ("swap_inconsistency", "reliability"):
        return
    found = metric.compute(predictions=probabilities, references=verdicts, groups=groups, resamples=50)
    own = measure(np.log(probabilities), verdicts, groups, metric.NAMES, resamples=50)
    assert set(metric.NAMES) <= set(STATISTICS)
    for figure, measured in own.items():
        given = found[figure], found[f"{figure}_low"], found[f"{figure}_high"]
        assert given == pytest.approx((measured.value, measured.low, measured.high), abs=1e-12)


def test_every_figure_has_a_module() -> None:
    assert {name.partition("_")[0] for name in STATISTICS} <= {name.partition("_")[0].rstrip("s") for name in MODULES}
    assert {"swap_inconsistency", "reliability"} <= set(MODULES)


def test_log_loss_agrees_with_scikit_learn(rows: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    probabilities, verdicts, _ = rows
    metric = evaluate.load(str(REPOSITORY / "metrics" / "log_loss"))
    for batch in range(0, 240, 60):
        metric.add_batch(predictions=probabilities[batch : batch + 60], references=verdicts[batch : batch + 60])
    expected = sklearn.metrics.log_loss(verdicts.argmax(axis=1), probabilities)
    assert metric.compute(resamples=0)["log_loss"] == pytest.approx(expected, abs=1e-12)


def test_modules_can_be_combined(rows: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    probabilities, verdicts, _ = rows
    both = evaluate.combine([str(REPOSITORY / "metrics" / name) for name in ("accuracy", "brier_score")])
    found = both.compute(predictions=probabilities, references=verdicts)
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert found["brier_score_low"] < found["brier_score"] < found["brier_score_high"]


def test_swaps_and_curves(rows: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    probabilities, verdicts, groups = rows
    swaps = evaluate.load(str(REPOSITORY / "metrics" / "swap_inconsistency"))
    exact = swaps.compute(predictions=probabilities, references=probabilities[:, [1, 0, 2]], groups=groups)
    assert exact["swap_distance"] == exact["swap_distance_high"] == exact["swap_flips"] == 0
    curves = evaluate.load(str(REPOSITORY / "metrics" / "reliability"))
    found = curves.compute(predictions=probabilities, references=verdicts, groups=groups, bins=6, resamples=100)
    own = measure_reliability(np.log(probabilities), verdicts, groups, bins=6, resamples=100)
    for label, curve in own.items():
        given = found[f"reliability_{label}"]
        assert [point["battles"] for point in given] == [40] * 6 == [point.battles for point in curve]
        for point in given:
            assert point["low"] <= point["observed"] <= point["high"]
            # The verdicts were drawn from these probabilities.
            assert abs(point["predicted"] - point["observed"]) < 0.3
        assert np.all(np.diff([point["predicted"] for point in given]) > 0)


def test_rows_that_are_no_probabilities(rows: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    metric = evaluate.load(str(REPOSITORY / "metrics" / "log_loss"))
    with pytest.raises(ValueError, match="row 2"):
        metric.compute(predictions=[[1.0, 0.0, 0.0], [0.5, 0.5, 0.5]], references=[[1.0, 0.0, 0.0]] * 2)


def test_loading_from_the_repository_without_a_network() -> None:
    code = """import evaluate
metric = evaluate.load("metrics/log_loss")
print(metric.compute(predictions=[[0.5, 0.3, 0.2]], references=[[1, 0, 0]]))"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0.693" in done.stdout
