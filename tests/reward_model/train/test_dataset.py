"""The three parts of a run: whole, in order, and with nothing learned from what is held out."""

import datasets
import numpy as np
import pytest

from arena_data.loading import load_battles
from arena_data.splits.folds import grouped_split
from arena_data.style.features import RESPONSE_FEATURES
from reward_model.model.style_head import StyleScale
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.tokenizer import prepare_tokenizer
from reward_model.train.dataset import TrainingData, style_of, training_data
from tests.helpers.tiny_models import byte_tokenizer

SHARES = {"train": 0.6, "validation": 0.2, "calibration": 0.2}


@pytest.fixture(scope="module")
def battles() -> dict[str, datasets.Dataset]:
    return grouped_split(load_battles("arena_data/sample.csv", labels="required").select(range(40)), SHARES)


def data_of(battles: dict[str, datasets.Dataset], style: bool = True) -> TrainingData:
    return training_data(battles, BattleEncoder(prepare_tokenizer(byte_tokenizer()), 300), style=style)


def test_every_part_has_all_its_battles_in_their_order(battles: dict[str, datasets.Dataset]) -> None:
    data = data_of(battles)
    for name, part in battles.items():
        known = getattr(data, name)
        assert known.battles is part and known.rows["index"][:] == list(range(len(part)))
        np.testing.assert_allclose(known.verdicts, np.asarray(list(part["verdict"])))
        np.testing.assert_allclose(np.asarray(known.rows["labels"][:]), known.verdicts, atol=1e-7)
        assert known.groups == list(part["group"])
    np.testing.assert_allclose(data.prior, data.train.verdicts.mean(axis=0))


def test_style_stands_on_the_scale_of_the_training_part_alone(battles: dict[str, datasets.Dataset]) -> None:
    data = data_of(battles)
    assert data.scale is not None
    of_training, of_held_out = (StyleScale.of(style_of(battles[name])) for name in ("train", "validation"))
    for name, values in data.scale.arrays().items():
        np.testing.assert_array_equal(values, of_training.arrays()[name])
    assert np.abs(of_held_out.side.mean - data.scale.side.mean).max() > 1e-3
    expected = of_training.side.apply(style_of(battles["validation"]).a)
    np.testing.assert_allclose(np.asarray(data.validation.rows["style_a"][:]), expected, atol=1e-6)
    sides = np.concatenate([np.asarray(data.train.rows[name][:]) for name in ("style_a", "style_b")])
    assert sides.shape[1] == len(RESPONSE_FEATURES) and np.abs(sides.mean(axis=0)).max() < 0.5


def test_without_a_style_head_nothing_is_counted(battles: dict[str, datasets.Dataset]) -> None:
    data = data_of(battles, style=False)
    assert data.scale is None and data.train.style is None and "style_a" not in data.train.rows.column_names
