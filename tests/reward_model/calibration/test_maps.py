"""Each map against scikit-learn, netcal or a search, and what must hold for all of them."""

import numpy as np
import pytest
from netcal.scaling import LogisticCalibration, TemperatureScaling
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from reward_model.calibration.maps import METHODS, PARAMETERS, SWAP_EXACT, apply_map, fit_map, parity_point, strengths
from reward_model.evaluation.probabilities import log_loss

SWAP = [1, 0, 2]


def battles(rows: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities [rows, 3] that are lopsided, too sure and short of ties, and verdicts."""
    generator = np.random.default_rng(seed)
    truth = log_softmax(generator.normal(0, 1, (rows, 3)), axis=1)
    verdicts = np.eye(3)[(generator.random((rows, 1)) > np.exp(truth).cumsum(axis=1)[:, :2]).sum(axis=1)]
    mixed = truth @ np.array([[1.6, 0.2, 0.0], [0.1, 1.3, 0.1], [0.0, 0.3, 1.2]]).T
    return log_softmax(mixed + np.array([0.4, 0.0, -0.6]), axis=1), verdicts


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    return battles()


@pytest.mark.parametrize("method", ["matrix", "dirichlet"])
def test_full_maps_without_a_prior_agree_with_scikit_learn(method: str, rows: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, verdicts = rows
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000).fit(log_probs, verdicts.argmax(axis=1))
    found = apply_map(method, fit_map(method, log_probs, verdicts, strength=0.0), log_probs)
    np.testing.assert_allclose(np.exp(found), oracle.predict_proba(log_probs), atol=2e-5)


def test_matrix_under_its_prior_agrees_with_another_search(rows: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, verdicts = rows

    def penalised(theta: np.ndarray) -> float:
        logits = log_probs @ (np.eye(3) + theta[:9].reshape(3, 3)).T + theta[9:]
        prior = (theta[:9] ** 2).sum() / (2 * 0.25**2) + (theta[9:] ** 2).sum() / (2 * 0.5**2)
        return len(verdicts) * log_loss(log_softmax(logits, axis=1), verdicts) + prior

    oracle = minimize(penalised, np.zeros(12), method="BFGS", options={"gtol": 1e-3})
    found = np.array(list(fit_map("matrix", log_probs, verdicts).values()))
    expected = np.concatenate([np.eye(3).ravel() + oracle.x[:9], oracle.x[9:]])
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_dirichlet_regularises_as_its_paper_says(rows: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, verdicts = rows

    def penalised(theta: np.ndarray) -> float:
        weights = theta[:9].reshape(3, 3)
        off = (weights**2).sum() - (np.diag(weights) ** 2).sum()
        fitted = log_loss(log_softmax(log_probs @ weights.T + theta[9:], axis=1), verdicts)
        return fitted + 0.1 * off / 6 + 0.1 * (theta[9:] ** 2).sum() / 3

    oracle = minimize(
        penalised, np.concatenate([np.eye(3).ravel(), np.zeros(3)]), method="BFGS", options={"gtol": 1e-7}
    )
    found = np.array(list(fit_map("dirichlet", log_probs, verdicts, strength=0.1).values()))
    assert penalised(found) == pytest.approx(oracle.fun, abs=1e-9)
    np.testing.assert_allclose(found, oracle.x, atol=1e-3)


def test_temperature_agrees_with_netcal(rows: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, verdicts = rows
    oracle = TemperatureScaling()
    oracle.fit(np.exp(log_probs), verdicts.argmax(axis=1))
    found = fit_map("temperature", log_probs, verdicts, strength=0.0)["temperature"]
    # netcal clips logits, and multiplies by what it calls the temperature.
    assert found == pytest.approx(1 / float(np.ravel(oracle.temperature)[0]), abs=2e-3)


def test_vector_agrees_with_netcal_and_a_search(rows: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, verdicts = rows
    found = apply_map("vector", fit_map("vector", log_probs, verdicts, strength=0.0), log_probs)

    def loss(theta: np.ndarray) -> float:
        return log_loss(log_softmax(log_probs * theta[:3] + theta[3:], axis=1), verdicts)

    assert log_loss(found, verdicts) == pytest.approx(minimize(loss, [1, 1, 1, 0, 0, 0]).fun, abs=1e-7)
    oracle = LogisticCalibration()
    oracle.fit(np.exp(log_probs), verdicts.argmax(axis=1))
    # Its logits are others (the last class is the reference), so the fits are neighbours rather than twins.
    theirs = np.log(oracle.transform(np.exp(log_probs)))
    assert log_loss(found, verdicts) <= log_loss(theirs, verdicts) + 0.003


def test_multipliers_meet_the_shares_that_were_seen(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """At the best multipliers the mean probability of each verdict is its share: the likelihood's own equations."""
    log_probs, verdicts = rows
    for method, columns in (("multipliers", [0, 1, 2]), ("tie_multiplier", [2])):
        parameters = fit_map(method, log_probs, verdicts, strength=0.0)
        mapped = np.exp(apply_map(method, parameters, log_probs))
        np.testing.assert_allclose(mapped.mean(axis=0)[columns], verdicts.mean(axis=0)[columns], atol=1e-6)
    by_hand = np.exp(log_probs) * [1, 1, parameters["tie_multiplier"]]
    np.testing.assert_allclose(mapped, by_hand / by_hand.sum(axis=1, keepdims=True), atol=1e-12)


def test_the_threshold_is_the_best_of_all() -> None:
    generator = np.random.default_rng(1)
    truth = np.maximum(generator.dirichlet([0.3, 0.3, 0.3], 4000), 0.05)
    truth /= truth.sum(axis=1, keepdims=True)
    verdicts = np.eye(3)[(generator.random((4000, 1)) > truth.cumsum(axis=1)[:, :2]).sum(axis=1)]
    sure = np.where(truth < 0.06, 1e-4, truth)
    log_probs = np.log(sure / sure.sum(axis=1, keepdims=True))
    found = fit_map("threshold", log_probs, verdicts)
    assert found["threshold"] == pytest.approx(0.05, abs=0.01)
    losses = [
        log_loss(apply_map("threshold", {"threshold": h}, log_probs), verdicts) for h in np.linspace(0.001, 0.3, 400)
    ]
    assert log_loss(apply_map("threshold", found, log_probs), verdicts) <= min(losses) + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_maps_that_are_called_swap_exact_are_and_the_others_are_not(
    method: str, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    log_probs, verdicts = rows
    parameters = fit_map(method, log_probs, verdicts)
    assert tuple(parameters) == PARAMETERS[method]
    there, back = apply_map(method, parameters, log_probs), apply_map(method, parameters, log_probs[:, SWAP])
    np.testing.assert_allclose(np.exp(there).sum(axis=1), 1, atol=1e-12)
    assert (method in SWAP_EXACT) == np.array_equal(back, there[:, SWAP])


@pytest.mark.parametrize("method", [method for method in METHODS if method != "none"])
def test_each_map_helps_where_it_was_fitted_and_bows_to_its_prior(
    method: str, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    log_probs, verdicts = rows
    before = log_loss(log_probs, verdicts)
    for strength in strengths(method):
        fitted = log_loss(apply_map(method, fit_map(method, log_probs, verdicts, strength), log_probs), verdicts)
        assert fitted < before - 0.001
    if method not in ("threshold", "dirichlet"):  # without a prior; with a diagonal that has none
        held = apply_map(method, fit_map(method, log_probs, verdicts, strength=1e9), log_probs)
        np.testing.assert_allclose(held, log_probs, atol=1e-3)


def test_narrow_margins_are_held_to_their_scale_more_than_wide_ones() -> None:
    generator = np.random.default_rng(0)
    found = {}
    for width in (0.3, 3.0):
        half = generator.normal(0, width, 200) / 2
        log_probs = log_softmax(np.stack([half, -half, np.zeros(200)], axis=1), axis=1)
        # The margins say nothing at all: without a prior both scales would be near 0.
        verdicts = np.eye(3)[generator.permutation(np.repeat([0, 1, 2], [67, 67, 66]))]
        found[width] = fit_map("parity_affine", log_probs, verdicts)["margin_scale"]
    assert found[0.3] > 0.9 and found[3.0] < 0.4


def test_a_rate_of_ties_that_is_far_off_is_found_and_a_little_noise_is_not_followed() -> None:
    log_probs = np.tile(np.log([0.49, 0.49, 0.02]), (300, 1))
    verdicts = np.eye(3)[np.repeat([0, 1, 2], [105, 105, 90])]
    mapped = apply_map("tie_multiplier", fit_map("tie_multiplier", log_probs, verdicts), log_probs)
    assert np.exp(mapped[0, 2]) == pytest.approx(0.3, abs=0.01)
    log_probs = np.tile(np.log([0.36, 0.36, 0.28]), (300, 1))
    mapped = apply_map("tie_multiplier", fit_map("tie_multiplier", log_probs, verdicts), log_probs)
    assert 0.283 < np.exp(mapped[0, 2]) < 0.297


def test_the_curved_map_holds_the_others_and_keeps_the_order_of_margins(rows: tuple[np.ndarray, np.ndarray]) -> None:
    log_probs, verdicts = rows
    for method in ("none", "temperature", "tie_multiplier", "parity_affine"):
        parameters = fit_map(method, log_probs, verdicts)
        values = parity_point(method, parameters).tolist()
        as_curved = dict(zip(PARAMETERS["parity_curved"], values, strict=True))
        expected = apply_map(method, parameters, log_probs)
        np.testing.assert_allclose(apply_map("parity_curved", as_curved, log_probs), expected, atol=1e-12)
    with pytest.raises(ValueError, match="threshold"):
        parity_point("threshold", {"threshold": 0.1})
    # Verdicts against the predictions: scales stop above 0, and the larger margin stays the larger.
    against = fit_map("parity_curved", log_probs, verdicts[:, SWAP])
    assert against["small_margin_scale"] > 0 and against["large_margin_scale"] > 0
    margins = np.sort(log_probs[:, 0] - log_probs[:, 1])
    mapped = apply_map("parity_curved", against, np.stack([margins / 2, -margins / 2, 0 * margins], axis=1))
    assert (np.diff(mapped[:, 0] - mapped[:, 1]) >= 0).all()


def test_the_curved_map_finds_slopes_that_differ_and_ties_that_depend_on_the_margin() -> None:
    generator = np.random.default_rng(0)
    margin, tie_strength = generator.normal(0, 2, 20_000), generator.normal(0, 0.5, 20_000)
    size = np.abs(margin)
    small = np.sign(margin) * np.log1p(size)
    bent, tied = 1.4 * small + 0.5 * (margin - small), tie_strength - 0.4 * size + 0.3
    truth = np.exp(log_softmax(np.stack([bent / 2, -bent / 2, tied], axis=1), axis=1))
    log_probs = log_softmax(np.stack([margin / 2, -margin / 2, tie_strength], axis=1), axis=1)
    found = fit_map("parity_curved", log_probs, truth, strength=0.0)
    assert found["small_margin_scale"] == pytest.approx(1.4, abs=0.02)
    assert found["large_margin_scale"] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(np.exp(apply_map("parity_curved", found, log_probs)), truth, atol=0.005)


def test_the_curved_map_never_has_ties_overtake_wins_as_margins_grow() -> None:
    generator = np.random.default_rng(0)
    margin = generator.normal(0, 0.5, 2000)
    # Small margins only, and ties wherever they are largest: to follow them would make every clear win a tie.
    verdicts = np.eye(3)[np.where(np.abs(margin) > 0.3, 2, (margin < 0).astype(int))]
    log_probs = log_softmax(np.stack([margin / 2, -margin / 2, 0 * margin], axis=1), axis=1)
    found = fit_map("parity_curved", log_probs, verdicts)
    certain = np.array([[0.0, -40.0, -20.0]])
    assert np.exp(apply_map("parity_curved", found, certain))[0, 0] > 0.99
