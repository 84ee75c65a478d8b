"""Every metric against scikit-learn, netcal or a sum by hand; intervals against what sampling really does."""

import math

import numpy as np
import pytest
import sklearn.metrics
from netcal.metrics import ECE
from scipy.special import log_softmax

from reward_model.evaluation.metrics import STATISTICS, Measured, bootstrap, measure, measure_swaps
from reward_model.evaluation.probabilities import group_numbers
from reward_model.evaluation.reliability import equal_bins, reliability_curve, squared_error

SWAP = [1, 0, 2]


def battles(rows: int, seed: int = 0, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities [rows, 3], `sharpness` times too sure, verdicts drawn from the truth, and the truth."""
    generator = np.random.default_rng(seed)
    truth = log_softmax(generator.normal(0, 1, (rows, 3)), axis=1)
    drawn = (generator.random((rows, 1)) > np.exp(truth).cumsum(axis=1)[:, :2]).sum(axis=1)
    return log_softmax(sharpness * truth, axis=1), np.eye(3)[drawn], truth


def test_agreement_with_scikit_learn() -> None:
    log_probs, verdicts, _ = battles(700, sharpness=1.5)
    probabilities, labels = np.exp(log_probs), verdicts.argmax(axis=1)
    predicted, decided = probabilities.argmax(axis=1), labels < 2
    margins = log_probs[decided, 0] - log_probs[decided, 1]
    expected = {
        "log_loss": sklearn.metrics.log_loss(labels, probabilities),
        "accuracy": sklearn.metrics.accuracy_score(labels, predicted),
        "brier_score": sklearn.metrics.brier_score_loss(labels, probabilities, scale_by_half=False),
        "tie_precision": sklearn.metrics.precision_score(labels == 2, predicted == 2),
        "tie_recall": sklearn.metrics.recall_score(labels == 2, predicted == 2),
        "auc_a_against_b": sklearn.metrics.roc_auc_score(labels[decided] == 0, margins),
    }
    found = measure(log_probs, verdicts, resamples=0)
    assert set(found) == set(STATISTICS)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
        assert math.isnan(found[name].low)


def test_rows_that_count_often_are_rows_that_are_there_often() -> None:
    log_probs, verdicts, _ = battles(300, sharpness=1.5)
    # Rounded, so that predictions and margins are equal in places.
    log_probs = log_softmax(np.round(log_probs), axis=1)
    counts = np.random.default_rng(0).integers(0, 4, 300)
    repeated = np.repeat(log_probs, counts, axis=0), np.repeat(verdicts, counts, axis=0)
    for name, prepare in STATISTICS.items():
        if "calibration" in name:  # their bins are those of the rows that there are
            continue
        weighted = prepare(log_probs, verdicts)(counts.astype(float))
        assert weighted == pytest.approx(prepare(*repeated)(np.ones(counts.sum())), abs=1e-12), name


def test_soft_verdicts_count_by_their_shares() -> None:
    log_probs, _, truth = battles(400)
    soft = np.exp(truth)
    repeated = np.concatenate([log_probs] * 3)
    hard = np.repeat(np.eye(3), 400, axis=0)
    shares = soft.T.ravel()
    for name in ("log_loss", "accuracy", "tie_precision", "tie_recall", "auc_a_against_b"):
        softly = STATISTICS[name](log_probs, soft)(np.ones(400))
        assert softly == pytest.approx(STATISTICS[name](repeated, hard)(shares), abs=1e-12), name


def test_reliability_bins_agree_with_netcal() -> None:
    log_probs, verdicts, _ = battles(1003, sharpness=2)
    probabilities, labels = np.exp(log_probs), verdicts.argmax(axis=1)
    top = probabilities.argmax(axis=1)
    curve = reliability_curve(probabilities.max(axis=1), (top == labels).astype(float), bins=10)
    assert sum(point.battles for point in curve) == 1003 and len(curve) == 10
    plain = sum(point.battles * abs(point.observed - point.predicted) for point in curve) / 1003
    assert plain == pytest.approx(ECE(bins=10, equal_intervals=False).measure(probabilities, labels), abs=1e-9)
    for verdict in range(3):
        one = probabilities[:, verdict]
        curve = reliability_curve(one, verdicts[:, verdict], bins=10)
        plain = sum(point.battles * abs(point.observed - point.predicted) for point in curve) / 1003
        oracle = ECE(bins=10, equal_intervals=False).measure(one, verdicts[:, verdict].astype(int))
        assert plain == pytest.approx(oracle, abs=1e-9)


def test_calibration_error_by_hand() -> None:
    predicted = np.array([0.2, 0.2, 0.2, 0.8, 0.8])
    outcome = np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    assert equal_bins(predicted, 2).tolist() == [0, 0, 0, 1, 1]
    low, high = (1 / 3 - 0.2) ** 2, 0.2**2
    every = np.ones(5)
    assert squared_error(predicted, outcome, 2, debias=False)(every) == pytest.approx((3 * low + 2 * high) / 5)
    # The variance of the gaps in the first bin is 1/3 and none in the second.
    assert squared_error(predicted, outcome, 2)(every) == pytest.approx((3 * (low - 1 / 9) + 2 * high) / 5)


def test_debiasing_takes_off_what_noise_adds() -> None:
    plain, debiased = [], []
    for seed in range(200):
        log_probs, verdicts, _ = battles(300, seed)
        rows = np.exp(log_probs[:, 0]), verdicts[:, 0]
        plain.append(squared_error(*rows, debias=False)(np.ones(300)))
        debiased.append(squared_error(*rows)(np.ones(300)))
    assert np.mean(plain) > 0.007  # about the variance of a mean of 20
    assert abs(np.mean(debiased)) < 4 * np.std(debiased) / math.sqrt(200) < 0.001


def test_a_calibrated_model_is_told_from_a_model_that_is_too_sure() -> None:
    names = ("top_label_calibration_error", "classwise_calibration_error")
    for name in names:
        fine, sure = (measure(*battles(3000, sharpness=s)[:2], names=names, resamples=200)[name] for s in (1, 2))
        assert fine.low == 0 and fine.value < 0.02
        assert sure.low > 0.08 and sure.low < sure.value < sure.high


def test_intervals_of_calibration_errors_hold_the_truth_as_often_as_they_say() -> None:
    names = ("top_label_calibration_error", "classwise_calibration_error")
    truth = measure(*battles(300_000, seed=999, sharpness=1.5)[:2], names=names, resamples=0)
    hits, runs = dict.fromkeys(names, 0), 60
    for seed in range(runs):
        found = measure(*battles(1000, seed, sharpness=1.5)[:2], names=names, resamples=150, seed=seed)
        for name in names:
            hits[name] += found[name].low <= truth[name].value <= found[name].high
    assert min(hits.values()) >= 0.9 * runs


def test_intervals_hold_the_truth_as_often_as_they_say_also_for_copies_of_a_prompt() -> None:
    hits = {"grouped": 0, "ungrouped": 0}
    runs = 150
    for seed in range(runs):
        log_probs, verdicts, truth = battles(120, seed)
        expected = float(-(np.exp(truth) * log_probs).sum(axis=1).mean())
        # Each battle is there four times, with the same verdict: 480 rows know no more than 120.
        copies = np.repeat(log_probs, 4, axis=0), np.repeat(verdicts, 4, axis=0)
        for name, groups in (("grouped", [str(row // 4) for row in range(480)]), ("ungrouped", None)):
            interval = measure(*copies, groups, names=["log_loss"], resamples=200, seed=seed)["log_loss"]
            hits[name] += interval.low <= expected <= interval.high
    # The truth is that of these very battles, which makes intervals a little wider than they need be.
    assert hits["grouped"] >= 0.92 * runs
    assert hits["ungrouped"] < 0.8 * runs


def test_what_is_not_defined_is_nan_and_null() -> None:
    never_ties = np.log([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
    found = measure(never_ties, [[1, 0, 0], [1, 0, 0]], resamples=10)
    assert math.isnan(found["tie_precision"].value) and math.isnan(found["tie_recall"].value)
    assert math.isnan(found["auc_a_against_b"].value)
    assert found["tie_recall"].to_json() == {"value": None, "low": None, "high": None}
    assert found["accuracy"].to_json()["value"] == 0.5


def test_swaps() -> None:
    log_probs, _, _ = battles(200)
    exact = measure_swaps(log_probs, log_probs[:, SWAP])
    assert exact == {"swap_distance": Measured(0, 0, 0), "swap_flips": Measured(0, 0, 0)}
    # A model that always says the first response: whatever the order, A.
    always = np.log([[0.6, 0.3, 0.1]] * 50)
    biased = measure_swaps(always, always)
    assert biased["swap_distance"].value == pytest.approx(0.3) and biased["swap_flips"].value == 1
    even = np.log([[0.4, 0.4, 0.2]])
    assert measure_swaps(even, even)["swap_flips"].value == 0
    with pytest.raises(ValueError, match="2 swapped battles for 3"):
        measure_swaps(np.zeros((3, 3)), np.zeros((2, 3)))


def test_groups_and_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="unknown metric 'f1'"):
        measure(np.zeros((1, 3)), [[1, 0, 0]], names=["f1"])
    with pytest.raises(ValueError, match="1 groups for 2 rows"):
        measure(np.zeros((2, 3)), [[1, 0, 0]] * 2, ["a"])
    assert group_numbers(["b", "a", "b"]).tolist() == [1, 0, 1]

    def one(weights: np.ndarray) -> float:
        return 1.0

    assert bootstrap({"one": one}, ["a", "b"], resamples=3)["one"] == Measured(1, 1, 1)
    # One prompt says nothing about the spread between prompts.
    alone = bootstrap({"one": one}, ["a", "a"], resamples=3)["one"]
    assert alone.value == 1 and np.isnan([alone.low, alone.high]).all()
