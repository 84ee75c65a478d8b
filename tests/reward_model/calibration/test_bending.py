"""A bent blend: it says what no weighted pool can, knows no side, goes no further than its battles did, and is read back."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from reward_model.calibration.bending import KNOTS, ODD, TERMS, Bend, fitted_weights, terms_of
from reward_model.calibration.blending import BENT, Blend, fit_blend
from reward_model.evaluation.probabilities import log_loss

SWAP = [1, 0, 2]
Drawn = tuple[list[np.ndarray], np.ndarray]


def overconfident(rows: int, seed: int) -> Drawn:
    """Two members whose large margins mean no more than their middling ones, and verdicts."""
    random = np.random.default_rng(seed)
    said = log_softmax(random.normal(0, 3, (2, rows, 3)), axis=2)
    truth = np.zeros((rows, 3))
    for member in np.exp(said):
        truth[:, 0] += 2.0 * (member[:, 0] - member[:, 1])
    chances = np.exp(log_softmax(truth, axis=1))
    verdicts = np.eye(3)[(random.random((rows, 1)) > chances.cumsum(axis=1)[:, :2]).sum(axis=1)]
    return list(said), verdicts


@pytest.fixture(scope="module")
def fitted() -> tuple[Blend, Drawn]:
    members, verdicts = overconfident(1200, 0)
    return fit_blend(members, verdicts, pooling="logarithmic", resamples=0), (members, verdicts)


def test_it_says_what_no_weights_can_and_is_kept_for_it(fitted: tuple[Blend, Drawn]) -> None:
    blend, _ = fitted
    assert blend.bend is not None and blend.log_loss[BENT] < blend.log_loss["logarithmic"] - 0.01
    members, verdicts = overconfident(2000, 1)
    fresh = [log_loss(one.apply(members), verdicts) for one in (blend, replace(blend, bend=None))]
    assert fresh[0] < fresh[1] - 0.01
    # What cross-validation promised is what fresh battles give.
    assert fresh[0] == pytest.approx(blend.log_loss[BENT], abs=0.02)


def test_where_a_pool_is_right_none_is_kept_and_without_asking_none_is_tried() -> None:
    random = np.random.default_rng(2)
    seen = random.normal(0, 0.8, (2, 800, 3))
    chances = np.exp(log_softmax(seen.sum(axis=0), axis=1))
    verdicts = np.eye(3)[(random.random((800, 1)) > chances.cumsum(axis=1)[:, :2]).sum(axis=1)]
    plain, never = (
        fit_blend(list(seen), verdicts, pooling="logarithmic", resamples=0, bend=b) for b in ("auto", "off")
    )
    assert plain.bend is None and plain.log_loss[BENT] < plain.log_loss["logarithmic"] + 0.02
    assert BENT not in never.log_loss and never.weights == plain.weights


def test_swapping_members_swaps_it_to_the_last_bit(fitted: tuple[Blend, Drawn]) -> None:
    blend, (members, _) = fitted
    turned = blend.apply([member[:, SWAP] for member in members])
    np.testing.assert_array_equal(turned, blend.apply(members)[:, SWAP])
    # A row says the same alone as among others.
    np.testing.assert_array_equal(blend.apply([member[7:8] for member in members]), blend.apply(members)[7:8])


def test_a_fit_is_the_minimum_of_log_loss_and_prior() -> None:
    (first, second), verdicts = overconfident(400, 3)
    pooled = log_softmax(first + second, axis=1)
    terms, odd = (
        np.stack([first[:, 0] - first[:, 1], first[:, 2], second[:, 2]], axis=1),
        np.array([True, False, False]),
    )

    def penalised(weights: np.ndarray, shift: float) -> float:
        half, tie = terms @ (weights * odd) / 2, terms @ (weights * ~odd) + shift
        bent = log_softmax(pooled + np.stack([half, -half, tie], axis=1), axis=1)
        return len(verdicts) * log_loss(bent, verdicts) + 4.0 * float(np.square(weights).sum())

    weights, shift = fitted_weights(pooled, terms, odd, verdicts, precision=8.0)
    least = penalised(weights, shift)
    random = np.random.default_rng(4)
    for _ in range(20):
        assert penalised(weights + random.normal(0, 0.02, 3), shift) > least
        assert penalised(weights, shift + random.normal(0, 0.05)) > least
    strict, _ = fitted_weights(pooled, terms, odd, verdicts, precision=1e9)
    assert np.abs(strict).max() < 1e-5


def test_terms_turn_with_the_sides_or_stay() -> None:
    members = np.stack(overconfident(50, 5)[0])
    knots = np.abs(np.random.default_rng(0).normal(size=(2, KNOTS)))
    terms, turned = terms_of(members, knots), terms_of(members[:, :, SWAP], knots)
    assert terms.shape == (50, 2 * TERMS)
    np.testing.assert_array_equal(turned[:, : 2 * sum(ODD)], -terms[:, : 2 * sum(ODD)])
    np.testing.assert_array_equal(turned[:, 2 * sum(ODD) :], terms[:, 2 * sum(ODD) :])


def test_a_member_surer_than_any_it_has_seen_bends_no_further(fitted: tuple[Blend, Drawn]) -> None:
    bend = fitted[0].bend
    assert bend is not None
    # Each tie strength stays, so that the margin alone is beyond its range.
    sure = [log_softmax([[margin, -margin, 0.0]], axis=1) for margin in (30.0, 300.0)]
    terms = [terms_of(np.tile(one, (2, 1, 1)), np.reshape(bend.knots, (2, KNOTS))) for one in sure]
    held = [np.clip((one - bend.middle) / bend.spread, bend.low, bend.high) for one in terms]
    np.testing.assert_allclose(held[0][:, : 2 * sum(ODD)], held[1][:, : 2 * sum(ODD)])
    seen = np.abs(bend.high[: 2 * sum(ODD)])
    assert (np.abs(held[1][0, : 2 * sum(ODD)]) <= seen + 1e-12).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [1.0]}, "different lengths"),
        ({"shift": float("nan")}, "shift"),
        ({"spread": "wide"}, "'spread'"),
        ({"high": [None] * 2 * TERMS}, "'high'"),
        ({"spread": [0.0] * 2 * TERMS}, "not above 0"),
        ({"more": 1}, "no object of weights"),
    ],
)
def test_a_stored_bend_that_is_wrong(fitted: tuple[Blend, Drawn], change: dict[str, Any], message: str) -> None:
    bend = fitted[0].bend
    assert bend is not None
    with pytest.raises(ValueError, match=message) as raised:
        Bend.from_json(asdict(bend) | change)
    assert "\n" not in str(raised.value)


def test_storing_and_reading_back(fitted: tuple[Blend, Drawn]) -> None:
    blend, _ = fitted
    stored = json.loads(json.dumps(blend.to_json(), allow_nan=False))
    assert Blend.from_json(stored) == blend
    # Older files have no bend; one of other members does not fit.
    del stored["bend"]
    assert Blend.from_json(stored) == replace(blend, bend=None)
    with pytest.raises(ValueError, match="bend of other members"):
        replace(blend, members=("one",), weights=(1.0,), intervals=())
    with pytest.raises(ValueError, match="unknown bend"):
        fit_blend([np.zeros((2, 3))], [[1, 0, 0], [0, 1, 0]], bend="maybe")
