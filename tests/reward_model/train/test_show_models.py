"""A teacher that reads the models' names, and the student that does not: rows, style, prediction, refusals."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.transcripts.model_names import with_model_names
from reward_model.api import RewardModel
from reward_model.audit.counterfactuals import swapped
from reward_model.predict.member import Job
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.tokenizer import prepare_tokenizer
from reward_model.train.dataset import training_data
from tests.helpers.run_directories import make_run
from tests.helpers.tiny_models import byte_tokenizer

SAMPLE = Path(__file__).parents[3] / "arena_data" / "sample.csv"


def test_training_reads_names_and_counts_style_without_them() -> None:
    battles = load_battles(SAMPLE).select(range(30))
    parts = {
        name: battles.select(range(10 * n, 10 * n + 10))
        for n, name in enumerate(("train", "validation", "calibration"))
    }
    encoder = BattleEncoder(prepare_tokenizer(byte_tokenizer()), 400)
    plain, shown = (training_data(parts, encoder, style=True, show_models=show) for show in (False, True))
    assert shown.train.battles is parts["train"]
    for name in ("labels", "style_a", "style_b", "pair"):
        np.testing.assert_array_equal(shown.train.rows[name], plain.train.rows[name])
    expected = encoder(with_model_names(parts["train"]))
    assert list(shown.train.rows["input_ids_a"]) == list(expected["input_ids_a"])
    assert list(shown.train.rows["input_ids_a"]) != list(plain.train.rows["input_ids_a"])


@pytest.mark.parametrize("encoding", ["separate", "joint"])
def test_prediction_reads_the_names_of_its_battles(encoding: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", encoding=encoding, show_models=True)
    model = RewardModel.from_pretrained(run, dtype="float32", device="cpu")
    battles = load_battles(SAMPLE).select(range(6))
    said = model.run.member.predict(Job(battles)).log_probs
    renamed = (
        battles.remove_columns("model_a")
        .add_column("model_a", ["someone else"] * 6)
        .select_columns(battles.column_names)
    )
    assert np.abs(model.run.member.predict(Job(renamed)).log_probs - said).max() > 1e-4
    # Names go with their responses.
    np.testing.assert_allclose(model.run.member.predict(Job(swapped(battles))).log_probs[:, [1, 0, 2]], said, atol=1e-5)
    # The same weights that are not shown names read the texts as they are.
    plain = dataclasses.replace(
        model.run.member.run, config=dataclasses.replace(model.run.member.run.config, show_models=False)
    )
    assert (
        np.abs(type(model.run.member)(plain, model.run.member.options).predict(Job(battles)).log_probs - said).max()
        > 1e-4
    )
    for texts in (("?", "a", "b"), (["?"], ["a"], ["b"])):
        with pytest.raises(InputError, match="reads the names of the two models, and no battle has one"):
            model.compare(*texts)
