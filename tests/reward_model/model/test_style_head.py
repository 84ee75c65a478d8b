"""Scales of the style features: standard deviations from the mean of training, alike in memory and in a file."""

import numpy as np

from arena_data.style.features import StyleArrays
from reward_model.model.style_head import LIMIT, Scale, StyleScale


def test_training_features_have_mean_zero_and_spread_one_and_a_constant_says_nothing() -> None:
    features = np.random.default_rng(0).normal([3.0, -1000.0, 7.0], [2.0, 0.5, 0.0], size=(500, 3)).astype(np.float32)
    scaled = Scale.of(features).apply(features)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0], atol=1e-3)


def test_outliers_are_held_to_the_limit_on_both_sides() -> None:
    scale = Scale(np.zeros(2, dtype=np.float32), np.ones(2, dtype=np.float32))
    assert scale.apply(np.array([[1e6, -1e6]])).tolist() == [[LIMIT, -LIMIT]]


def test_a_scale_of_style_is_the_same_whichever_side_is_called_a() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(2, 40, 5)).astype(np.float32)
    alike = random.random(40).astype(np.float32)
    given, turned = StyleScale.of(StyleArrays(a, b, alike)), StyleScale.of(StyleArrays(b, a, alike))
    for name, values in given.arrays().items():
        np.testing.assert_allclose(values, turned.arrays()[name], rtol=1e-6)
    stored = StyleScale.from_arrays(given.arrays())
    np.testing.assert_array_equal(stored.side.apply(a), given.side.apply(a))
    np.testing.assert_array_equal(
        stored.pair.apply(StyleArrays(a, b, alike).pair), given.pair.apply(StyleArrays(a, b, alike).pair)
    )
