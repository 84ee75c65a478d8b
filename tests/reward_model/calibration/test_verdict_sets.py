"""Verdict sets: thresholds worked by hand, prompts of unequal size, swaps, and the coverage that is promised."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from reward_model.calibration.calibration import Calibration, fit
from reward_model.calibration.verdict_sets import (
    check_thresholds,
    measure_sets,
    set_texts,
    set_thresholds,
    verdict_sets,
)

HELD_OUT = Path(__file__).parents[3] / "../shared/data/predictions/arena_heldout.csv"
SWAP = [1, 0, 2]


def voted(rows: int, seed: int, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities [rows, 3] that are too sharp by a factor, and verdicts of the true ones."""
    random = np.random.default_rng(seed)
    truth = log_softmax(random.normal(0, 1.2, (rows, 3)), axis=1)
    verdicts = (random.random((rows, 1)) > np.exp(truth).cumsum(axis=1)[:, :2]).sum(axis=1)
    return log_softmax(truth * sharpness, axis=1), np.eye(3)[verdicts]


def of_verdict(probabilities: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Battles that A won, to which the model gave these chances of it."""
    chances = np.array(probabilities)
    rest = (1 - chances) / 2
    return np.log(np.stack([chances, rest, rest], axis=1)), np.tile([1.0, 0, 0], (len(chances), 1))


def test_the_threshold_worked_by_hand() -> None:
    # Nine prompts of weight 1/10 each: 90 % needs all of them, 80 % the eight highest, and 91 % more than there are.
    thresholds = set_thresholds(*of_verdict([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]))
    assert thresholds["90"] == pytest.approx(0.1) and thresholds["80"] == pytest.approx(0.2)
    assert thresholds["50"] == pytest.approx(0.5) and thresholds["91"] == 0


def test_a_prompt_counts_once_however_many_battles_it_has() -> None:
    chances = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    once = set_thresholds(*of_verdict(chances))
    many = set_thresholds(*of_verdict([*chances[:-1], *[0.1] * 50]), [*"abcdefgh", *"i" * 50])
    assert many == pytest.approx(once)


def test_a_soft_verdict_counts_by_its_shares() -> None:
    log_probs = np.log([[0.7, 0.2, 0.1]] * 99)
    thresholds = set_thresholds(log_probs, np.tile([0.8, 0.2, 0], (99, 1)))
    # 0.8 of each weight 1/100 comes at 0.7: 79.2 %.
    assert thresholds["79"] == pytest.approx(0.7) and thresholds["80"] == pytest.approx(0.2)


def test_swapping_battles_swaps_sets_and_equals_are_in_together() -> None:
    log_probs, verdicts = voted(500, 1)
    thresholds = set_thresholds(log_probs, verdicts)
    assert set_thresholds(log_probs[:, SWAP], verdicts[:, SWAP]) == thresholds
    sets = verdict_sets(log_probs, thresholds["80"])
    np.testing.assert_array_equal(verdict_sets(log_probs[:, SWAP], thresholds["80"]), sets[:, SWAP])
    assert set_texts(verdict_sets(np.log([[0.4, 0.4, 0.2], [0.2, 0.2, 0.6]]), 0.9)) == ["A B", "tie"]


def test_sets_are_written_in_the_order_of_the_labels_and_are_never_empty() -> None:
    sets = verdict_sets(np.log([[0.5, 0.2, 0.3], [0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3]]), 0.25)
    assert set_texts(sets) == ["A tie", "A", "A B tie"]
    assert verdict_sets(voted(100, 2)[0], 1.0).any(axis=1).all()


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
def test_the_coverage_holds_for_models_right_and_wrong_with_prompts_of_many_battles(sharpness: float) -> None:
    """Prompts whose verdict surprises have eight battles: counted singly, battles would promise too much."""
    coverage = []
    for seed in range(200):
        log_probs, verdicts = voted(200, seed, sharpness)
        repeats = np.where((log_probs[:100] * verdicts[:100]).sum(axis=1) < -1, 8, 1)
        rows = np.repeat(np.arange(100), repeats)
        thresholds = set_thresholds(log_probs[rows], verdicts[rows], [str(row) for row in rows])
        sets = verdict_sets(log_probs[100:], thresholds["90"])
        coverage.append((sets * verdicts[100:]).sum(axis=1).mean())
    mean, error = np.mean(coverage), np.std(coverage) / np.sqrt(len(coverage))
    assert 0.9 - 3 * error <= mean <= 0.9 + 1 / 101 + 3 * error


@pytest.mark.skipif(not HELD_OUT.is_file(), reason="the real predictions are not here")
@pytest.mark.parametrize(("calibrated", "resamples"), [(False, 200), (True, 50)])
def test_the_coverage_of_real_predictions_over_resamples(calibrated: bool, resamples: int) -> None:
    """Overconfident predictions as they are, and the way of a training run: map and thresholds from the same battles."""
    with HELD_OUT.open() as stream:
        rows = list(csv.DictReader(stream))
    names = ("llm_a", "llm_b", "llm_tie")
    log_probs = np.log(np.maximum([[float(row[name]) for name in names] for row in rows], 1e-12))
    verdicts = np.eye(3)[[int(row["label"]) for row in rows]]
    coverage = []
    for seed in range(resamples):
        order = np.random.default_rng(seed).permutation(len(rows))
        kept, rest = order[:500], order[500:]
        if calibrated:
            fitted = fit(log_probs[kept], verdicts[kept], method="temperature")
            sets = verdict_sets(fitted.apply(log_probs[rest]), fitted.set_thresholds["90"])
        else:
            sets = verdict_sets(log_probs[rest], set_thresholds(log_probs[kept], verdicts[kept])["90"])
        coverage.append((sets * verdicts[rest]).sum(axis=1).mean())
    mean, error = np.mean(coverage), np.std(coverage) / np.sqrt(len(coverage))
    assert 0.9 - 3 * error <= mean <= 0.9 + 1 / 501 + 3 * error
    assert np.std(coverage) < 0.02  # a single run is near it too


def test_a_calibration_keeps_its_thresholds_and_refuses_broken_ones() -> None:
    log_probs, verdicts = voted(300, 3)
    fitted = fit(log_probs, verdicts)
    assert Calibration.from_json(fitted.to_json()) == fitted and len(fitted.set_thresholds) == 50
    assert Calibration("none", {}).set_thresholds == {}
    for broken in ({"90": 0.1}, [0.1], fitted.set_thresholds | {"90": 2}, fitted.set_thresholds | {"90": None}):
        with pytest.raises(ValueError, match="set_thresholds"):
            check_thresholds(broken)


def test_coverage_and_size_by_slice() -> None:
    sets = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]], dtype=bool)
    verdicts = np.eye(3)[[0, 1, 1, 2]]
    lines = measure_sets(sets, verdicts, None, {"language": ["en", "en", "de", None]}, resamples=50)
    values = {line["name"]: (line["coverage"]["value"], line["size"]["value"]) for line in lines}
    assert values == {"": (0.75, 1.75), "de": (1.0, 2.0), "en": (0.5, 1.0)}
    with pytest.raises(ValueError, match="3 names of slice 'language' for 4 battles"):
        measure_sets(sets, verdicts, None, {"language": ["en"] * 3})
