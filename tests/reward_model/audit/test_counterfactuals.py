"""Battles changed in one thing: nothing else moves, and the style features see the thing."""

import datasets
import numpy as np
import pytest

from arena_data.loading import load_battles
from arena_data.style.features import RESPONSE_FEATURES, style_arrays
from arena_data.style.languages import reads_as_english
from reward_model.audit.counterfactuals import (
    altered,
    naming_itself,
    not_naming_itself,
    not_praising_itself,
    padded,
    praising_itself,
    said_twice,
    swapped,
    with_closing,
)


@pytest.fixture(scope="module")
def battles() -> datasets.Dataset:
    loaded = load_battles("arena_data/sample.csv").select(range(60))
    assert isinstance(loaded, datasets.Dataset)
    return loaded


def test_swapping_twice_is_nothing_and_once_is_style_exchanged(battles: datasets.Dataset) -> None:
    once = swapped(battles)
    assert swapped(once).to_dict() == battles.to_dict()
    assert once["model_a"] == battles["model_b"] and once["prompt"] == battles["prompt"]
    before, after = style_arrays(battles, progress=False), style_arrays(once, progress=False)
    np.testing.assert_array_equal(before.a, after.b)
    assert [v[0] for v in once["verdict"]] == [v[1] for v in battles["verdict"]]
    assert [v[2] for v in once["verdict"]] == [v[2] for v in battles["verdict"]]


def test_altering_touches_one_response_of_each_battle(battles: datasets.Dataset) -> None:
    sides = ["a" if row % 2 else "b" for row in range(len(battles))]
    changed = altered(battles, sides, said_twice)
    for row, side in enumerate(sides):
        other = "b" if side == "a" else "a"
        assert changed[row][f"response_{other}"] == battles[row][f"response_{other}"]
        for old, new in zip(battles[row][f"response_{side}"], changed[row][f"response_{side}"], strict=True):
            assert new == (f"{old}\n\n{old}" if old and old.strip() else old)
    untouched = [name for name in battles.column_names if not name.startswith("response")]
    assert changed.select_columns(untouched).to_dict() == battles.select_columns(untouched).to_dict()


def test_padding_makes_it_half_as_long_again_and_keeps_it_whole() -> None:
    text = "The sky is blue because air scatters blue light more. " * 20
    assert text in padded(text) and 1.5 * len(text) <= len(padded(text)) < 1.5 * len(text) + 300
    assert "hi" in padded("hi") and len(padded("hi")) > 100
    assert padded(" \n") == " \n" and padded("") == "" == with_closing("") == praising_itself("") == said_twice("")


@pytest.mark.parametrize(
    ("add", "remove", "feature"),
    [(naming_itself, not_naming_itself, "self_naming"), (praising_itself, not_praising_itself, "self_praise")],
)
def test_self_promotion_is_what_the_style_features_count(
    battles: datasets.Dataset, add: object, remove: object, feature: str
) -> None:
    sides, column = ["a"] * len(battles), RESPONSE_FEATURES.index(feature)
    put_on = altered(battles, sides, add)  # type: ignore[arg-type]
    filled = np.array([any(turn and turn.strip() for turn in row) for row in battles["response_a"]])
    assert (style_arrays(put_on, progress=False).a[filled, column] > 0).all()
    taken_off = altered(put_on, sides, remove)  # type: ignore[arg-type]
    assert (style_arrays(taken_off, progress=False).a[:, column] == 0).all()


def test_only_the_sentences_that_say_so_go() -> None:
    text = "Pi is 3.14 or so. I am GPT-3.5, a model trained by OpenAI. It is used in circles."
    assert not_naming_itself(text) == "Pi is 3.14 or so. It is used in circles."
    assert not_naming_itself("I am GPT-4.") == "I am GPT-4."  # nothing would be left


def test_english_is_told_from_other_languages() -> None:
    assert reads_as_english("The answer to this is in the book that you have.")
    for other in ("Der Himmel ist blau, weil die Luft das Licht streut.", "天空是蓝色的", "print(x)", ""):
        assert not reads_as_english(other)
