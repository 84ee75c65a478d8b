"""Scales of the style features: standard deviations from the mean, within training's range, alike in memory and a file."""

import dataclasses

import numpy as np
import pytest

from arena_data.style.features import RESPONSE_FEATURES, StyleArrays
from reward_model.model.margins import BattleScores, battle_scores
from reward_model.model.style_head import LIMIT, Scale, StyleHead, StyleScale
from reward_model.tokens.encodings import ENCODINGS, Encoding
from tests.helpers.run_directories import style_head

BATTLES = 40
EACH = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)


def random_style(seed: int, size: float = 1.0) -> StyleArrays:
    random = np.random.default_rng(seed)
    a, b = (size * random.normal(size=(2, BATTLES, len(RESPONSE_FEATURES)))).astype(np.float32)
    return StyleArrays(a, b, random.random(BATTLES).astype(np.float32))


def held_head(style: StyleArrays) -> StyleHead:
    """Random weights on the scale of these battles."""
    return StyleHead.of(RESPONSE_FEATURES, vars(style_head()), StyleScale.of(style))


def endless_head(head: StyleHead) -> StyleHead:
    """The same as a file of an older version holds it: without a reach."""
    return dataclasses.replace(head, difference_reach=np.inf, pair_low=-np.inf, pair_high=np.inf)


def scores_of(style: StyleArrays, head: StyleHead, encoding: Encoding) -> BattleScores:
    """What style alone says."""
    return battle_scores(np.zeros((len(style.similarity), 2, 2)), encoding, style, head)


@EACH
def test_a_pair_far_outside_of_training_is_no_sharper_than_the_edge_of_its_range(encoding: Encoding) -> None:
    seen, far = random_style(0), random_style(1, size=1000.0)
    head = held_head(seen)
    scores = scores_of(far, head, encoding)
    # The widest difference of each feature in training, all of them for the same side, is the edge.
    edge = np.abs(head.scale.reach.difference * head.style_reward).sum()
    pairs = head.scale.pairs(seen) * head.tie_weights
    assert np.abs(scores.margin).max() <= edge + 1e-9
    assert (scores.tie_strength <= pairs.max(axis=0).sum() + 1e-6).all()
    assert (scores.tie_strength >= pairs.min(axis=0).sum() - 1e-6).all()
    assert np.abs(scores_of(far, endless_head(head), encoding).margin).max() > 1.2 * np.abs(scores.margin).max()


@EACH
def test_a_swap_gives_the_mirror_beyond_the_range_too(encoding: Encoding) -> None:
    far = random_style(1, size=3.0)
    scores, turned = (
        scores_of(style, held_head(random_style(0)), encoding)
        for style in (far, StyleArrays(far.b, far.a, far.similarity))
    )
    np.testing.assert_array_equal(turned.margin, -scores.margin)
    np.testing.assert_array_equal(turned.tie_strength, scores.tie_strength)


@EACH
def test_within_the_range_of_training_every_bit_is_as_without_one(encoding: Encoding) -> None:
    seen = random_style(0)
    for style in (seen, StyleArrays(seen.b, seen.a, seen.similarity)):
        held, endless = (scores_of(style, head, encoding) for head in (held_head(seen), endless_head(held_head(seen))))
        np.testing.assert_array_equal(held.margin, endless.margin)
        np.testing.assert_array_equal(held.tie_strength, endless.tie_strength)


def test_battles_of_other_sources_widen_the_range_and_move_no_scale() -> None:
    seen, far = random_style(0), random_style(1, size=3.0)
    scale = StyleScale.of(seen)
    wider = scale.reaching(far)
    for style in (seen, far):
        a, b = (scale.side.apply(values).astype(np.float64) for values in (style.a, style.b))
        np.testing.assert_array_equal(np.stack(wider.sides(style)), np.stack([a, b]))
        np.testing.assert_array_equal(wider.pairs(style), scale.pair.apply(style.pair))
    np.testing.assert_array_equal(wider.reaching(seen).reach.difference, wider.reach.difference)


def test_a_scale_from_an_older_file_holds_nothing() -> None:
    seen, far = random_style(0), random_style(1, size=1000.0)
    stored = StyleScale.of(seen).arrays()
    older = StyleScale.from_arrays({name: values for name, values in stored.items() if not name.startswith("reach")})
    for side, values in zip(older.sides(far), (far.a, far.b), strict=True):
        np.testing.assert_array_equal(side, older.side.apply(values))
    np.testing.assert_array_equal(older.pairs(far), older.pair.apply(far.pair))
    np.testing.assert_array_equal(older.levels(far), sum(map(older.side.apply, (far.a, far.b)), np.zeros(1)) / 2)
    newer = StyleScale.from_arrays(stored)
    np.testing.assert_array_equal(newer.levels(far), StyleScale.of(seen).levels(far))
    assert np.abs(newer.levels(far)).max() < np.abs(older.levels(far)).max()


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
