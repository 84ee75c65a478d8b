"""The two encodings: rows to margins, in numpy as in torch, whichever side is called A."""

import numpy as np
import pytest
import torch

from arena_data.style.features import RESPONSE_FEATURES, StyleArrays
from reward_model.model.margins import battle_scores, margins
from reward_model.tokens.encodings import ENCODINGS, JOINT, SEPARATE, Encoding, encoding_named
from tests.helpers.run_directories import style_head

BATTLES = 7
EACH = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)


def random_rewards(seed: int = 0) -> np.ndarray:
    """float64 [2, battles, 2]: value and tie strength of each battle's two rows."""
    return np.random.default_rng(seed).normal(size=(2, BATTLES, 2))


@EACH
def test_prediction_and_training_have_the_same_margins(encoding: Encoding) -> None:
    rewards = random_rewards()
    margin, tie_strength = margins(torch.from_numpy(rewards), encoding)
    scores = battle_scores(np.moveaxis(rewards, 0, 1), encoding)
    np.testing.assert_array_equal(scores.margin, margin.numpy())
    np.testing.assert_array_equal(scores.tie_strength, tie_strength.numpy())


@EACH
def test_exchanging_the_rows_turns_the_margin_to_the_last_bit(encoding: Encoding) -> None:
    rewards = random_rewards()
    given, turned = (battle_scores(np.moveaxis(rows, 0, 1), encoding) for rows in (rewards, rewards[::-1]))
    np.testing.assert_array_equal(turned.margin, -given.margin)
    np.testing.assert_array_equal(turned.tie_strength, given.tie_strength)


def test_margins_are_a_difference_of_rewards_or_the_mean_of_both_orders() -> None:
    (first, second), scores = random_rewards()[..., 0], np.moveaxis(random_rewards(), 0, 1)
    np.testing.assert_allclose(battle_scores(scores, SEPARATE).margin, first - second)
    np.testing.assert_array_equal(battle_scores(scores, SEPARATE).reward_a, first)
    np.testing.assert_allclose(battle_scores(scores, JOINT).margin, (first - second) / 2)
    np.testing.assert_allclose(battle_scores(scores[:, :1], JOINT).margin, first)


@EACH
def test_style_moves_the_margin_alike_in_training_and_prediction(encoding: Encoding) -> None:
    """In training each row's value has its own style in it, by the score layer; in prediction style is added afterwards."""
    random, head = np.random.default_rng(1), style_head()
    a, b = random.normal(size=(2, BATTLES, len(RESPONSE_FEATURES))).astype(np.float32)
    style = StyleArrays(a, b, random.random(BATTLES).astype(np.float32))
    rewards = random_rewards()
    trained = rewards.copy()
    for row, features in enumerate(encoding.style_of_rows(head.scale.side.apply(a), head.scale.side.apply(b))):
        trained[row, :, 0] += features @ head.style_reward
        trained[row, :, 1] += head.scale.pair.apply(style.pair) @ head.tie_weights
    margin, tie_strength = margins(torch.from_numpy(trained), encoding)
    scores = battle_scores(np.moveaxis(rewards, 0, 1), encoding, style, head)
    np.testing.assert_allclose(scores.margin, margin.numpy(), atol=1e-5)
    np.testing.assert_allclose(scores.tie_strength, tie_strength.numpy(), atol=1e-5)
    difference = head.scale.side.apply(a) - head.scale.side.apply(b)
    np.testing.assert_allclose(
        scores.margin - battle_scores(np.moveaxis(rewards, 0, 1), encoding).margin,
        difference @ head.style_reward,
        atol=1e-5,
    )


@EACH
def test_an_encoding_is_known_by_its_name(encoding: Encoding) -> None:
    assert encoding_named(encoding.name) is encoding
    # Only a row that holds one response says something of that response alone.
    assert encoding.scores_responses == (encoding.responses_in_row == 1)


def test_an_unknown_encoding_is_an_error() -> None:
    with pytest.raises(ValueError, match="encoding is 'both'; expected one of separate, joint"):
        encoding_named("both")
