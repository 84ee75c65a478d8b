"""Away from home a judge is less sure, never surer; at home nothing changes; no side is preferred."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from arena_data.style.features import PAIR_FEATURES, RESPONSE_FEATURES, StyleArrays
from reward_model.pretrained.away import AwayRule, Situation

PRIOR = (0.34, 0.34, 0.32)
LONG = Situation("long", keep=0.5, feature="length_log_sum", high=8.0)
FOREIGN = Situation("not in English", keep=0.2, tie=0.3, languages=("English",))
ALIKE = Situation("alike", keep=0.0, feature="similarity", high=0.9)
RULE = AwayRule(PRIOR, (LONG, FOREIGN, ALIKE))


def battles(count: int, seed: int = 0) -> tuple[np.ndarray, StyleArrays]:
    draw = np.random.default_rng(seed)
    a, b = (draw.normal(7, 2, (count, len(RESPONSE_FEATURES))).astype(np.float32) for _ in range(2))
    style = StyleArrays(a, b, draw.uniform(0, 0.8, count).astype(np.float32))
    return log_softmax(draw.normal(0, 2, (count, 3)), axis=1), style


def test_at_home_nothing_changes_to_the_last_bit() -> None:
    log_probs, style = battles(50)
    style.a[:], style.b[:] = 5, 5
    np.testing.assert_array_equal(RULE.apply(log_probs, style, lambda: ["English"] * 50), log_probs)
    assert RULE.told(style, lambda: ["English"] * 50) == [[]] * 50


def test_situations_multiply_and_a_kept_share_of_nothing_is_the_prior() -> None:
    log_probs, style = battles(3)
    column = RESPONSE_FEATURES.index("length_log_sum")
    style.a[:, column], style.b[:, column] = (5, 5, 9), (5, 9, 5)
    style.similarity[:] = (0.5, 0.5, 1.0)
    languages = ["English", "Chinese", "English"]
    found = RULE.apply(log_probs, style, lambda: languages)
    assert RULE.told(style, lambda: languages) == [[], ["long", "not in English"], ["long", "alike"]]
    mixed = 0.1 * log_probs[1] + 0.9 * np.log(PRIOR) + [0, 0, 0.3]
    np.testing.assert_allclose(found[1], mixed - np.log(np.exp(mixed).sum()), atol=1e-12)
    np.testing.assert_allclose(np.exp(found[2]), PRIOR, atol=1e-12)


def test_no_situation_makes_it_surer_of_a_side_and_none_prefers_one() -> None:
    log_probs, style = battles(400, 1)
    languages = ["English", "Korean"] * 200
    found = RULE.apply(log_probs, style, lambda: languages)
    margin, before = (np.abs(values[:, 0] - values[:, 1]) for values in (found, log_probs))
    assert (margin <= before + 1e-12).all() and (margin < before - 1e-6).any()
    turned = StyleArrays(style.b, style.a, style.similarity)
    np.testing.assert_array_equal(RULE.apply(log_probs[:, [1, 0, 2]], turned, lambda: languages), found[:, [1, 0, 2]])


def test_languages_are_guessed_only_where_a_situation_asks() -> None:
    def never() -> list[str]:
        raise AssertionError("guessed for nothing")

    log_probs, style = battles(2)
    AwayRule(PRIOR, (LONG, ALIKE)).apply(log_probs, style, never)
    with pytest.raises(AssertionError, match="for nothing"):
        RULE.apply(log_probs, style, never)


def test_it_is_read_back_as_it_was() -> None:
    assert AwayRule.from_json(json.loads(json.dumps(RULE.to_json()))) == RULE


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"keep": 1.5}, "from 0 to 1"),
        ({"keep": True}, "from 0 to 1"),
        ({"tie": 9}, "within"),
        ({"feature": "charm"}, "style feature"),
        ({"languages": ["English"]}, "neither or both"),
        ({"low": 9.0}, "limits"),
        ({"about": "two\nlines"}, "line of text"),
        ({"surprise": 1}, "a situation is no object"),
    ],
)
def test_what_is_out_of_bounds_is_refused(change: dict[str, Any], match: str) -> None:
    stored = AwayRule(PRIOR, (LONG,)).to_json()
    stored["situations"][0] |= change
    with pytest.raises(ValueError, match=match):
        AwayRule.from_json(stored)


ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.floats(), max_size=3)
)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_value_in_any_field_is_read_or_refused_in_one_line(data: Any) -> None:
    stored = RULE.to_json()
    place = data.draw(st.sampled_from([stored, *stored["situations"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(ANY)
    try:
        rule = AwayRule.from_json(stored)
    except (ValueError, TypeError) as error:
        assert "\n" not in str(error)
        return
    log_probs, style = battles(5)
    assert np.isfinite(rule.apply(log_probs, style, lambda: ["English"] * 5)).all()


def test_every_style_feature_can_be_named() -> None:
    log_probs, style = battles(4)
    for name in (*RESPONSE_FEATURES, *PAIR_FEATURES):
        rule = AwayRule(PRIOR, (Situation("x", keep=0.0, feature=name, high=-100.0),))
        np.testing.assert_allclose(np.exp(rule.apply(log_probs, style, list)), np.tile(PRIOR, (4, 1)), atol=1e-12)
