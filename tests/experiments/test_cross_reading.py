"""Blocks with readouts: what sees what, the same for exchanged sides, and something is learned."""

import numpy as np
import pytest
import torch

from experiments.cross_reading import READINGS, CrossReading
from reward_model.evaluation.probabilities import log_loss
from tests.helpers.made_battles import Make, shuffled, swapped


def reader(tiny_bert: str, reading: str, epochs: float = 0.1) -> CrossReading:
    return CrossReading(tiny_bert, max_length=64, num_train_epochs=epochs, learning_rate=1e-3, reading=reading)


@pytest.mark.parametrize(("reading", "sees_the_other"), [("apart", False), ("cross", True)])
def test_only_crossed_readouts_see_the_other_side(
    reading: str,
    sees_the_other: bool,
    tiny_bert: str,
    make: dict[str, Make],
) -> None:
    battles = make["words"](40, 1, words=4)
    model = reader(tiny_bert, reading)
    model.fit(battles)
    a, b, other = [2, 5, 3], [2, 6, 7, 3], [2, 8, 9, 3]
    row = {"a": a, "start": [0.0, 0.0], "length": 7}
    batch = model._batch([row | {"b": b}, row | {"b": other}])
    batch = {name: values for name, values in batch.items() if name in ("input_ids", "attention_mask", "position_ids")}
    with torch.no_grad():
        states = model.model.backbone(**batch).last_hidden_state
    text, readouts = slice(0, 3), slice(3, 3 + model.readouts)
    torch.testing.assert_close(states[0, text], states[1, text])
    assert torch.allclose(states[0, readouts], states[1, readouts], atol=1e-6) != sees_the_other


@pytest.mark.scale
@pytest.mark.parametrize("reading", READINGS)
def test_it_learns_what_words_tell_and_knows_no_side(reading: str, tiny_bert: str, make: dict[str, Make]) -> None:
    train, held_out = make["words"](300, 1, words=4), make["words"](100, 2, words=4)
    verdicts = np.asarray(list(held_out["verdict"]))
    model = reader(tiny_bert, reading, epochs=8)
    model.fit(train)
    found, turned = (model.log_probabilities(given) for given in (held_out, swapped(held_out)))
    np.testing.assert_allclose(found[:, [1, 0, 2]], turned, atol=1e-4)
    assert log_loss(found, verdicts) < 0.6
    model.fit(shuffled(train))
    assert log_loss(model.log_probabilities(held_out), verdicts) > 0.9


def test_lower_layers_learn_slower(tiny_bert: str, make: dict[str, Make]) -> None:
    model = CrossReading(tiny_bert, max_length=64, learning_rate=1e-3, reading="apart", layer_decay=0.5)
    model.start()
    names = {id(parameter): name for name, parameter in model.model.named_parameters()}
    rates = {names[id(group["params"][0])]: group["lr"] for group in model._optimizer().param_groups}
    assert rates.keys() == set(names.values())
    depth = model.model.config.num_hidden_layers
    for name, rate in rates.items():
        if ".layer." in name:
            above = depth - int(name.split(".layer.")[1].split(".")[0])
        else:
            above = depth + 1 if ".embeddings." in name else 0
        assert rate == pytest.approx(1e-3 * 0.5**above), name
