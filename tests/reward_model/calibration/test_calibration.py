"""Calibration on predictions whose flaw is known, on too few rows, on wrong input, and on a large model's real ones."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from reward_model.calibration.calibration import Calibration, fit
from reward_model.calibration.maps import METHODS, SWAP_EXACT
from reward_model.evaluation.probabilities import FLOOR, log_loss

HELD_OUT = Path(__file__).parents[3] / "../shared/data/predictions/arena_heldout.csv"
SWAP = [1, 0, 2]


def battles(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True log-probabilities [rows, 3] and verdicts drawn from them."""
    generator = np.random.default_rng(seed)
    margin, tie_strength = generator.normal(0, 1.5, rows), generator.normal(0, 0.5, rows)
    log_probs = log_softmax(np.stack([margin / 2, -margin / 2, tie_strength], axis=1), axis=1)
    drawn = (generator.random((rows, 1)) > np.exp(log_probs).cumsum(axis=1)[:, :2]).sum(axis=1)
    return log_probs, np.eye(3)[drawn]


def test_the_temperature_that_was_put_in_comes_out() -> None:
    truth, _ = battles(4000)
    sharpened = log_softmax(truth * 1.7, axis=1)
    fitted = fit(sharpened, np.exp(truth), method="temperature")
    assert fitted.parameters["temperature"] == pytest.approx(1.7, abs=0.02)
    np.testing.assert_allclose(fitted.apply(sharpened), truth, atol=0.05)


def test_the_affine_map_that_was_put_in_comes_out() -> None:
    truth, _ = battles(20_000)
    margin, tie_strength = truth[:, 0] - truth[:, 1], truth[:, 2] - truth[:, :2].mean(axis=1)
    # d = s d' and tau = t tau' + u undo these.
    wrong = np.stack([margin / 1.2, -margin / 1.2, 2 * (tie_strength + 0.4) / 0.7], axis=1)
    fitted = fit(log_softmax(wrong / 2, axis=1), np.exp(truth), method="parity_affine").parameters
    assert fitted["margin_scale"] == pytest.approx(1.2, abs=0.02)
    assert fitted["tie_scale"] == pytest.approx(0.7, abs=0.02)
    assert fitted["tie_shift"] == pytest.approx(-0.4, abs=0.02)


def test_temperature_agrees_with_trying_them_all() -> None:
    truth, verdicts = battles(5000)
    predicted = log_softmax(truth * 2.2, axis=1)
    temperatures = np.arange(1.5, 3.0, 0.002)
    losses = [log_loss(log_softmax(predicted / temperature, axis=1), verdicts) for temperature in temperatures]
    fitted = fit(predicted, verdicts, method="temperature")
    assert fitted.parameters["temperature"] == pytest.approx(temperatures[np.argmin(losses)], abs=0.03)
    assert log_loss(fitted.apply(predicted), verdicts) == pytest.approx(min(losses), abs=2e-5)


@pytest.mark.parametrize("method", ["auto", *SWAP_EXACT])
def test_swapping_before_or_after_is_the_same_to_the_last_bit(method: str) -> None:
    truth, verdicts = battles(500)
    fitted = fit(truth * 1.5, verdicts, method=method)
    mapped = fitted.apply(truth)
    np.testing.assert_array_equal(fitted.apply(truth[:, SWAP]), mapped[:, SWAP])
    np.testing.assert_allclose(np.exp(mapped).sum(axis=1), 1, atol=1e-12)


def test_swapping_the_data_does_not_change_the_fit() -> None:
    truth, verdicts = battles(300)
    there, back = (fit(truth[:, c] * 1.5, verdicts[:, c], method="parity_affine") for c in ([0, 1, 2], SWAP))
    assert there.parameters == pytest.approx(back.parameters, abs=1e-6)


def test_few_rows_do_no_harm() -> None:
    excess = []
    for seed in range(30):
        truth, verdicts = battles(560, seed)
        fitted = fit(truth[:60], verdicts[:60])
        excess.append(log_loss(fitted.apply(truth[60:]), verdicts[60:]) - log_loss(truth[60:], verdicts[60:]))
    # Three free parameters would cost 3 / (2 * 60) = 0.025 on average.
    assert np.mean(excess) < 0.004
    assert max(excess) < 0.05


def test_auto_says_what_the_flaw_calls_for() -> None:
    truth, verdicts = battles(3000)
    assert fit(truth, verdicts).method == "none"
    too_sure = fit(truth * 2, verdicts)
    halved = log_softmax(truth, axis=1)
    np.testing.assert_allclose(np.exp(too_sure.apply(truth * 2)), np.exp(halved), atol=0.05)
    # All but none can say it, and the one of fewest parameters has the most of the average.
    assert max(too_sure.averaged, key=too_sure.averaged.__getitem__) == "temperature"
    assert too_sure.averaged["none"] < 1e-6
    without_ties = truth + np.array([0.0, 0.0, -2.0])
    chosen = fit(log_softmax(without_ties, axis=1), verdicts)
    assert chosen.averaged["none"] + chosen.averaged["temperature"] < 1e-6
    assert chosen.parameters["tie_shift"] == pytest.approx(2, abs=0.5)
    np.testing.assert_allclose(np.exp(chosen.apply(without_ties)), np.exp(truth), atol=0.06)
    assert chosen.log_loss_before is not None and chosen.log_loss_after is not None
    assert chosen.log_loss_after < chosen.log_loss_before - 0.1
    assert (chosen.rows, chosen.folds) == (3000, 5)


def test_auto_is_near_the_better_map_without_knowing_which() -> None:
    excess = []
    for seed in range(12):
        truth, verdicts = battles(2400, seed)
        seen, fresh = slice(0, 400), slice(400, None)
        predicted = truth * (1.6 if seed % 2 else 1.0) + np.array([0.0, 0.0, 0.6 * (seed % 3)])
        losses = [
            log_loss(fit(predicted[seen], verdicts[seen], method=method).apply(predicted[fresh]), verdicts[fresh])
            for method in ("auto", "none", "temperature", "parity_affine")
        ]
        excess.append(losses[0] - min(losses[1:]))
    assert np.mean(excess) < 0.002


def test_only_lopsided_votes_cost_the_symmetry_and_only_when_allowed() -> None:
    truth, verdicts = battles(2000)
    free = fit(truth * 1.5, verdicts, swap_exact=False)
    assert free.method in SWAP_EXACT
    # A is shown first and people vote for what is first.
    lopsided = truth - np.array([0.8, 0.0, 0.0])
    assert fit(lopsided, verdicts).method in SWAP_EXACT
    free = fit(lopsided, verdicts, swap_exact=False)
    assert free.method not in SWAP_EXACT
    assert log_loss(free.apply(lopsided), verdicts) < log_loss(fit(lopsided, verdicts).apply(lopsided), verdicts) - 0.01


def test_copies_of_a_battle_do_not_count_as_evidence() -> None:
    truth, verdicts = battles(40, seed=3)
    log_probs, repeated = np.repeat(truth * 1.4, 100, axis=0), np.repeat(verdicts, 100, axis=0)
    groups = [f"prompt {row // 100}" for row in range(4000)]
    grouped, ungrouped = fit(log_probs, repeated, groups), fit(log_probs, repeated)
    # Forty battles cannot tell what four thousand could.
    assert grouped.method == "none" and ungrouped.method != "none"
    assert grouped.log_loss_after is not None and ungrouped.log_loss_after is not None
    assert fit(log_probs, repeated, groups, "parity_affine").log_loss_after > (  # type: ignore[operator]
        fit(log_probs, repeated, None, "parity_affine").log_loss_after  # type: ignore[operator]
    )


def test_impossible_probabilities_and_one_row() -> None:
    certain = np.array([[0.0, -np.inf, -np.inf], [-np.inf, 0.0, -np.inf]])
    for method in METHODS:
        fitted = fit(certain, [[0, 0, 1], [1, 0, 0]], method=method)
        assert np.isfinite(fitted.apply(certain)).all()
    assert Calibration().apply(certain).min() == pytest.approx(FLOOR)
    alone = fit([[-1.0, -1.0, -1.2]], [[1, 0, 0]])
    assert (alone.method, alone.folds) == ("none", 0)


def test_storing_and_reading_back() -> None:
    truth, verdicts = battles(200)
    for method in METHODS:
        fitted = fit(truth, verdicts, method=method)
        assert Calibration.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False))) == fitted


def test_files_from_before_averages_are_read() -> None:
    stored = {"method": "temperature", "parameters": {"temperature": 1.5}, "rows": 9, "folds": 5, "seed": 0}
    assert Calibration.from_json(stored | {"log_loss_before": 1.0, "log_loss_after": 0.9}).averaged == {}


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"method": "isotonic", "parameters": {}}, "unknown calibration method 'isotonic'; expected one of none, temp"),
        ({"method": ["none"], "parameters": {}}, "unknown calibration method"),
        ({"method": "temperature", "parameters": {}}, r"expected \['temperature'\]"),
        ({"method": "none", "parameters": {"temperature": 1.0}}, "has parameters"),
        ({"method": "temperature", "parameters": {"temperature": 0}}, "above 0"),
        ({"method": "temperature", "parameters": {"temperature": float("nan")}}, "finite"),
        ({"method": "temperature", "parameters": {"temperature": "1.3"}}, "finite"),
        ({"method": "none", "parameters": None}, "has parameters None"),
        ({"method": "none", "parameters": {}, "rows": "many"}, "'rows'"),
        ({"method": "none"}, "lacks parameters"),
        ({"method": "none", "parameters": {}, "slope": 1}, "slope"),
        ({"method": "tie_multiplier", "parameters": {"tie_multiplier": -1}}, "above 0"),
        ({"method": "none", "parameters": {}, "averaged": {"none": "all"}}, "'averaged'"),
        ([], "expected an object"),
    ],
)
def test_a_stored_map_that_is_wrong(stored: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        Calibration.from_json(stored)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("log_probs", "verdicts", "options", "message"),
    [
        ([[0.0, np.nan, 0.0]], [[1, 0, 0]], {}, "row 1"),
        ([[0.0, 0.0]], [[1, 0, 0]], {}, "shape"),
        ([[0.0, 0.0, 0.0]], [[1, 0, 1]], {}, "sum to 1"),
        ([[0.0, 0.0, 0.0]], [[2, -1, 0]], {}, "sum to 1"),
        ([[0.0, 0.0, 0.0]], [[np.nan, 1, 0]], {}, "sum to 1"),
        (np.zeros((0, 3)), np.zeros((0, 3)), {}, "at least one row"),
        ([[0.0, 0.0, 0.0]], [[1, 0, 0]], {"method": "platt"}, "unknown calibration method 'platt'"),
        ([[0.0, 0.0, 0.0]], [[1, 0, 0]], {"groups": ["a", "b"]}, "2 groups for 1 rows"),
    ],
)
def test_wrong_rows(log_probs: object, verdicts: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(log_probs, verdicts, **options)  # type: ignore[arg-type]


@pytest.mark.skipif(not HELD_OUT.is_file(), reason="needs the shared predictions")
def test_a_large_models_real_predictions() -> None:
    with open(HELD_OUT, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    log_probs = np.log([[float(row[f"llm_{verdict}"]) for verdict in ("a", "b", "tie")] for row in rows])
    verdicts = np.eye(3)[[int(row["label"]) for row in rows]]
    order = np.random.default_rng(0).permutation(len(rows))
    halves = order[: len(rows) // 2], order[len(rows) // 2 :]
    methods = ("none", "temperature", "parity_affine", "auto")
    losses: dict[str, list[float]] = {method: [] for method in methods}
    for fitted_on, held_out in (halves, halves[::-1]):
        for method in methods:
            fitted = fit(log_probs[fitted_on], verdicts[fitted_on], method=method)
            losses[method].append(log_loss(fitted.apply(log_probs[held_out]), verdicts[held_out]))
    none, temperature, affine, auto = (float(np.mean(losses[method])) for method in methods)
    assert none - temperature == pytest.approx(0.016, abs=0.003)
    assert affine < temperature
    assert affine < 0.926
    assert auto < affine + 0.0005
