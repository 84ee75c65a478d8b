"""The page says of a battle what the API says, and what style pulls is what leaving it out takes away."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arena_data.style.features import RESPONSE_FEATURES, style_of_texts
from reward_model.api import RewardModel
from reward_model.publish.demo.comparison import STYLE_GROUPS, compare, in_groups, style_sides
from reward_model.publish.demo.examples import EXAMPLES

BATTLE = ("What is 2 + 2?", "4.", "- Five!\n- **Or six?**")


@pytest.fixture(scope="module")
def model(runs: dict[str, Path]) -> RewardModel:
    return RewardModel.from_pretrained(runs["llama"], dtype="float32", device="cpu")


def test_what_style_pulls_is_what_closing_it_takes_away(model: RewardModel) -> None:
    on, off = (compare(model, *BATTLE, style=style) for style in (True, False))
    assert on.margin is not None and off.margin is not None
    assert on.tie_strength is not None and off.tie_strength is not None
    total = sum(value for _, value in on.style)
    assert on.margin - off.margin == pytest.approx(total, abs=1e-4) and abs(total) > 1e-3
    assert on.tie_strength - off.tie_strength == pytest.approx(on.style_tie, abs=1e-4)
    assert not off.style
    turned = compare(model, BATTLE[0], BATTLE[2], BATTLE[1])
    assert dict(turned.style) == pytest.approx({words: -value for words, value in on.style})
    assert turned.style_tie == pytest.approx(on.style_tie)


@pytest.mark.parametrize("style", [True, False])
def test_probabilities_and_rewards_are_those_of_the_api(model: RewardModel, style: bool) -> None:
    shown = compare(model, *BATTLE, style=style)
    assert shown.rewards == pytest.approx([model.reward(BATTLE[0], text) for text in BATTLE[1:]], abs=1e-4)
    if style:
        assert list(shown.probabilities) == pytest.approx(list(model.compare(*BATTLE)), abs=1e-6)
    a, b, tie = shown.probabilities
    assert list(shown.swapped) == pytest.approx([b, a, tie], abs=1e-5)


def test_a_joint_encoding_has_no_reward_of_one_response(runs: dict[str, Path]) -> None:
    shown = compare(RewardModel.from_pretrained(runs["bert-joint"], dtype="float32", device="cpu"), *BATTLE)
    a, b, tie = shown.probabilities
    assert shown.rewards is None and list(shown.swapped) == pytest.approx([b, a, tie], abs=1e-5)


def test_every_feature_is_in_one_group() -> None:
    grouped = [name for names in STYLE_GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(RESPONSE_FEATURES)
    terms = np.random.default_rng(0).standard_normal(len(RESPONSE_FEATURES))
    groups = in_groups(terms)
    assert sum(value for _, value in groups) == pytest.approx(terms.sum())
    assert [abs(value) for _, value in groups] == sorted((abs(value) for _, value in groups), reverse=True)


def test_the_style_judge_is_the_sum_of_what_style_pulls() -> None:
    """Davidson's margin is the log of P(A) over P(B), and nothing but style is in it."""
    judge, held = (RewardModel.from_pretrained("arena-style", calibrated=False) for _ in range(2))
    baseline: Any = held.scorer.stored.baseline  # type: ignore[attr-defined]
    reach = np.full_like(baseline.scale.reach.difference, 0.1)  # as if training had seen hardly any difference
    baseline.scale = baseline.scale._replace(reach=baseline.scale.reach._replace(difference=reach))
    for example in EXAMPLES:
        totals = []
        for model in (judge, held):
            shown = compare(model, *example[1:])
            totals.append(sum(value for _, value in shown.style))
            assert np.log(shown.probabilities.a / shown.probabilities.b) == pytest.approx(totals[-1], abs=1e-9)
        assert totals[0] != totals[1] or totals[0] == 0
    home = compare(RewardModel.from_pretrained("arena-style"), *EXAMPLES[0][1:])
    away = compare(RewardModel.from_pretrained("arena-style"), *EXAMPLES[-1][1:])
    assert len(home.cautions) == 1 and "not in English" in away.cautions[1]


def test_sides_of_style_are_features_by_their_weights(model: RewardModel) -> None:
    head = model.run.member.run.style
    assert head is not None
    sides, _ = style_sides(head, *BATTLE)
    features = style_of_texts(*([[text]] for text in BATTLE))
    for side, counted in zip(sides, (features.a, features.b), strict=True):
        assert side == pytest.approx((head.scale.side.apply(counted) * head.style_reward)[0], abs=1e-6)
