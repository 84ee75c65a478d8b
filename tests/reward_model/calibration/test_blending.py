"""Blending: what must come out when members are equal, noise or complementary; scikit-learn finds the same weights."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from reward_model.calibration.blending import Blend, fit_blend, pool
from reward_model.calibration.calibration import Calibration
from reward_model.evaluation.probabilities import log_loss

HELD_OUT = Path(__file__).parents[3] / "../shared/data/predictions/arena_heldout.csv"
SWAP = [1, 0, 2]


def members(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two members that each see a half of the truth, one of noise, and verdicts."""
    generator = np.random.default_rng(seed)
    seen, other = generator.normal(0, 0.8, (2, rows, 3))
    truth = log_softmax(seen + other, axis=1)
    verdicts = np.eye(3)[(generator.random((rows, 1)) > np.exp(truth).cumsum(axis=1)[:, :2]).sum(axis=1)]
    noise = log_softmax(generator.normal(0, 0.8, (rows, 3)), axis=1)
    return log_softmax(seen, axis=1), log_softmax(other, axis=1), noise, verdicts


def test_pools_by_hand() -> None:
    one, two = np.log([[0.2, 0.3, 0.5]]), np.log([[0.6, 0.2, 0.2]])
    linear = 0.25 * np.exp(one) + 0.75 * np.exp(two)
    np.testing.assert_allclose(np.exp(pool([one, two], [1, 3], "linear")), linear, atol=1e-15)
    product = np.exp(one) ** 0.25 * np.exp(two) ** 0.75
    np.testing.assert_allclose(np.exp(pool([one, two], [1, 3])), product / product.sum(), atol=1e-15)


@pytest.mark.parametrize("pooling", ["logarithmic", "linear"])
def test_a_member_pooled_with_itself_is_itself(pooling: str) -> None:
    one, _, _, _ = members(200)
    for weights in ([0.2, 0.8], [1, 1], [0, 7]):
        np.testing.assert_allclose(pool([one, one], weights, pooling), one, atol=1e-13)


@pytest.mark.parametrize("pooling", ["logarithmic", "linear"])
def test_swapping_members_swaps_the_blend_to_the_last_bit(pooling: str) -> None:
    one, two, _, verdicts = members(400)
    blend = fit_blend([one, two], verdicts, pooling=pooling, resamples=0)
    there, back = blend.apply([one, two]), blend.apply([one[:, SWAP], two[:, SWAP]])
    np.testing.assert_array_equal(back, there[:, SWAP])


def test_a_blend_of_one_model_with_itself_is_that_model() -> None:
    one, _, _, verdicts = members(600)
    alone, twice = (fit_blend([one] * count, verdicts, resamples=0) for count in (1, 2))
    np.testing.assert_allclose(twice.apply([one, one]), alone.apply([one]), atol=1e-6)


@pytest.mark.parametrize("pooling", ["logarithmic", "linear"])
def test_noise_gets_hardly_any_weight(pooling: str) -> None:
    one, two, noise, verdicts = members(4000)
    blend = fit_blend([one + two, noise], verdicts, pooling=pooling, resamples=50)
    assert blend.weights[1] < 0.04
    assert blend.intervals[1][0] < 1e-3 and blend.intervals[1][1] < 0.1
    assert blend.intervals[0][0] <= blend.weights[0] <= blend.intervals[0][1]


def test_two_halves_of_the_truth_are_worth_more_than_either() -> None:
    one, two, noise, verdicts = members(3000)
    fresh_one, fresh_two, fresh_noise, fresh = members(3000, seed=1)
    blend = fit_blend([one, two, noise], verdicts, members=["one", "two", "noise"], resamples=20)
    # Their logits add up to the truth: the logarithmic pool can say it, the linear one cannot.
    assert blend.pooling == "logarithmic"
    assert blend.weights[0] == pytest.approx(0.5, abs=0.05)
    assert blend.log_loss["logarithmic"] < blend.log_loss["linear"] - 0.005
    assert blend.members == ("one", "two", "noise") and blend.rows == 3000
    best = min(log_loss(member, fresh) for member in (fresh_one, fresh_two))
    assert log_loss(blend.apply([fresh_one, fresh_two, fresh_noise]), fresh) < best - 0.05


def test_logarithmic_weights_agree_with_scikit_learn() -> None:
    """Softmax regression on shared coefficients, written as one-against-one logits that scikit-learn can fit."""
    one, two, _, verdicts = members(2500)
    decided = verdicts[:, 2] == 0
    # Without ties and with exchanged copies, P(A | no tie) is a logistic regression on the members' margins.
    margins = np.stack([member[decided, 0] - member[decided, 1] for member in (one, two)], axis=1)
    oracle = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    oracle.fit(margins, verdicts[decided, 0])
    tie_free = [np.stack([m[decided, 0], m[decided, 1], np.full(decided.sum(), -60.0)], axis=1) for m in (one, two)]
    blend = fit_blend(tie_free, verdicts[decided], pooling="logarithmic", resamples=0)
    np.testing.assert_allclose(blend.weights, oracle.coef_[0] / oracle.coef_.sum(), atol=1e-3)


def test_linear_weights_agree_with_trying_them_all() -> None:
    one, two, _, verdicts = members(1500)
    shares = np.linspace(0, 1, 2001)
    losses = [log_loss(pool([one, two], [share, 1 - share], "linear"), verdicts) for share in shares]
    blend = fit_blend([one, two], verdicts, pooling="linear", resamples=0)
    assert blend.weights[0] == pytest.approx(shares[np.argmin(losses)], abs=2e-3)


def test_copies_of_a_prompt_widen_the_intervals() -> None:
    one, two, _, verdicts = members(150)
    copies = [np.repeat(rows, 8, axis=0) for rows in (one, two, verdicts)]
    groups = [f"prompt {row // 8}" for row in range(1200)]
    widths = []
    for names in (groups, None):
        low, high = fit_blend(copies[:2], copies[2], names, pooling="logarithmic").intervals[0]
        widths.append(high - low)
    assert widths[0] > 1.8 * widths[1]  # sqrt(8) = 2.8 in the long run


def test_storing_and_reading_back() -> None:
    one, two, _, verdicts = members(300)
    for blend in (fit_blend([one, two], verdicts, resamples=10), Blend(("a", "b"), (0.2, 0.8), "linear")):
        assert Blend.from_json(json.loads(json.dumps(blend.to_json(), allow_nan=False))) == blend


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([], "expected an object"),
        ({"members": ["a"]}, "lacks weights, pooling, calibration"),
        ({"members": "a", "weights": [1], "pooling": "linear", "calibration": {}}, "'members'"),
        ({"members": ["a"], "weights": [1], "pooling": "geometric", "calibration": None}, "expected an object"),
        ({"members": ["a"], "weights": [1], "pooling": "linear", "calibration": {}, "more": 1}, "more"),
    ],
)
def test_a_stored_blend_that_is_wrong(stored: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Blend.from_json(stored)
    with pytest.raises(ValueError, match="unknown pooling"):
        Blend(("a",), (1.0,), "geometric", Calibration())
    with pytest.raises(ValueError, match="at least one name"):
        Blend((), ())


@pytest.mark.parametrize(
    ("log_probs", "weights", "message"),
    [
        ([], [], "at least one member"),
        ([np.zeros((2, 3)), np.zeros((3, 3))], [1, 1], "same battles"),
        ([np.zeros((2, 3))], [1, 1], "2 weights for 1 members"),
        ([np.zeros((2, 3)), np.zeros((2, 3))], [0, 0], "not all 0"),
        ([np.zeros((2, 3)), np.zeros((2, 3))], [-1, 2], "at least 0"),
        ([np.zeros((2, 3)), np.zeros((2, 3))], [np.nan, 2], "at least 0"),
        ([np.full((2, 3), np.nan)], [1], "row 1"),
    ],
)
def test_wrong_members(log_probs: list[np.ndarray], weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool(log_probs, weights)


def test_impossible_probabilities_stay_finite() -> None:
    certain = np.array([[0.0, -np.inf, -np.inf], [-np.inf, 0.0, -np.inf]])
    for pooling in ("logarithmic", "linear"):
        assert np.isfinite(pool([certain, certain[::-1]], [1, 0], pooling)).all()
        blend = fit_blend([certain, certain[::-1]], [[0, 0, 1], [1, 0, 0]], pooling=pooling, resamples=3)
        assert np.isfinite(blend.apply([certain, certain[::-1]])).all()


@pytest.mark.skipif(not HELD_OUT.is_file(), reason="needs the shared predictions")
def test_real_predictions() -> None:
    with open(HELD_OUT, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    order = np.random.default_rng(0).permutation(len(rows))
    seen, fresh = order[:3000], order[3000:]
    verdicts = np.eye(3)[[int(row["label"]) for row in rows]]
    columns = ("a", "b", "tie")
    large, lexical = (np.log([[float(row[f"{m}_{c}"]) for c in columns] for row in rows]) for m in ("llm", "lexical"))
    noise = log_softmax(np.random.default_rng(1).normal(0, 1, large.shape), axis=1)
    losses = []
    for members in ([large], [large, lexical], [large, noise]):
        blend = fit_blend([member[seen] for member in members], verdicts[seen], pooling="logarithmic", resamples=0)
        losses.append(log_loss(blend.apply([member[fresh] for member in members]), verdicts[fresh]))
    # A weak model of another kind helps a strong one, and noise is left alone.
    assert losses[1] < losses[0] - 0.001
    assert blend.weights[1] < 0.05
    assert losses[2] < losses[0] + 0.001
