"""Prediction from a run directory: the numbers are the model's own, whatever the batches, and no row is lost."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from scipy.special import log_softmax

from reward_model.cli.flags import PredictionFlags, open_predictor
from reward_model.errors import ModelError
from reward_model.predict.member import Job
from reward_model.predict.scorer import Scorer
from reward_model.run_directory.reading import read_run
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import encoding_named
from reward_model.tokens.tokenizer import load_tokenizer
from reward_model.train.dataset import style_of
from tests.helpers.predictions import by_itself, predictor, swapped
from tests.helpers.run_directories import make_run

BATTLES = 24
SWAP = [1, 0, 2]
RUNS = ("llama", "llama-adapter", "bert", "bert-joint")


@pytest.mark.parametrize("name", RUNS)
def test_probabilities_are_those_of_each_battle_by_itself(name: str, runs: dict[str, Path], battles: Any) -> None:
    predicted = predictor(runs[name], swap_average=float(name == "bert-joint")).predict(battles)
    np.testing.assert_allclose(np.exp(predicted), np.exp(by_itself(runs[name], battles)), atol=1e-5)
    assert np.exp(predicted).std(axis=0).min() > 0.004  # it tells battles apart


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_order_budget_and_padding_change_nothing(name: str, runs: dict[str, Path], battles: Any) -> None:
    expected = np.exp(predictor(runs[name]).predict(battles))
    order = np.random.default_rng(0).permutation(BATTLES)
    for batch_tokens in (1, 700, 50_000):
        predicted = predictor(runs[name], batch_tokens=batch_tokens).predict(battles.select(order))
        np.testing.assert_allclose(np.exp(predicted), expected[order], atol=1e-5)
    alone = predictor(runs[name]).predict(battles.select([3]))
    np.testing.assert_allclose(np.exp(alone)[0], expected[3], atol=1e-5)


def test_swapping_a_battle_swaps_its_probabilities(runs: dict[str, Path], battles: Any) -> None:
    for name, averaged in (("llama", 0.0), ("bert-joint", 1.0)):
        model = predictor(runs[name], swap_average=averaged)
        np.testing.assert_allclose(
            model.predict(swapped(battles)), model.predict(battles)[:, SWAP], atol=1e-5, err_msg=name
        )
    one_pass = predictor(runs["bert-joint"])
    difference = one_pass.predict(swapped(battles)) - one_pass.predict(battles)[:, SWAP]
    assert np.abs(difference).max() > 1e-3


def test_style_off_is_the_model_without_its_style_head(runs: dict[str, Path], battles: Any) -> None:
    on, off = (predictor(runs["llama"], style=style).run(Job(battles)).members[0].scores for style in ("on", "off"))
    assert on is not None and off is not None
    head, style = read_run(runs["llama"]).style, style_of(battles)
    assert head is not None
    for predicted, plain, features in ((on.reward_a, off.reward_a, style.a), (on.reward_b, off.reward_b, style.b)):
        standard = np.clip((features - head.side_mean) / head.side_scale, -8, 8)
        np.testing.assert_allclose(predicted - plain, standard @ head.style_reward, atol=1e-4)
    assert np.abs(on.tie_strength - off.tie_strength).max() > 0.1


def test_a_run_without_a_style_head_has_no_style_to_turn_off(tmp_path: Path, battles: Any) -> None:
    run = make_run(tmp_path / "run", style=False)
    predicted = predictor(run).predict(battles)
    np.testing.assert_array_equal(predicted, predictor(run, style="off").predict(battles))
    assert np.exp(predicted).std(axis=0).min() > 0.004


def test_calibration_can_be_left_out(runs: dict[str, Path], battles: Any) -> None:
    raw = predictor(runs["llama"], calibration="none").predict(battles)
    np.testing.assert_allclose(predictor(runs["llama"]).predict(battles), log_softmax(raw / 1.7, axis=1), atol=1e-9)


def cut_texts(path: Path, battles: datasets.Dataset) -> np.ndarray:
    run = read_run(path)
    encoder = BattleEncoder(load_tokenizer(str(path)), run.config.max_length, encoding_named(run.config.encoding))
    return np.asarray(encoder(battles)["tokens_cut"][:]) > 0


@pytest.mark.parametrize("name", ["llama", "bert-joint"])
def test_what_was_cut_is_kept_with_the_scores(
    name: str, runs: dict[str, Path], battles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = cut_texts(runs[name], battles)
    assert 0 < expected.sum() < BATTLES
    for _ in ("scored", "read from the store"):
        prediction = predictor(runs[name], swap_average=float(name == "bert-joint")).run(Job(battles, folder=tmp_path))
        np.testing.assert_array_equal(prediction.truncated, expected)
        monkeypatch.setattr(Scorer, "score", lambda *_: pytest.fail("scored again"))


def same_times(paths: Iterable[Path], like: Path) -> None:
    """The files' times of change become those of the files of these names in `like`."""
    for path in paths:
        times = (like / path.name).stat()
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_models_of_equal_sizes_and_times_do_not_share_shards(tmp_path: Path, battles: Any) -> None:
    first, second = (make_run(tmp_path / name, seed=seed) for seed, name in enumerate(("first", "second")))
    same_times(second.iterdir(), first)
    weights = "model.safetensors"
    assert (first / weights).stat().st_size == (second / weights).stat().st_size
    work = tmp_path / "work"
    work.mkdir()
    one, other = (predictor(path).run(Job(battles, folder=work)).log_probs for path in (first, second))
    np.testing.assert_array_equal(other, predictor(second).predict(battles))
    assert np.abs(one - other).max() > 0.01


@pytest.mark.parametrize("changed", ["run-backbone/model.safetensors", "run/tokenizer.json"])
def test_shards_of_other_files_under_the_same_names_are_not_gone_on_from(
    changed: str, tmp_path: Path, battles: Any
) -> None:
    run = make_run(tmp_path / "run", model_type="adapter")
    work = tmp_path / "work"
    work.mkdir()
    before = predictor(run).run(Job(battles, folder=work)).log_probs
    file = tmp_path / changed
    times, content = file.stat(), file.read_bytes()
    if changed.endswith("json"):
        letters = json.loads(content)
        vocabulary = letters["model"]["vocab"]
        vocabulary["e"], vocabulary["t"] = vocabulary["t"], vocabulary["e"]
        file.write_text(json.dumps(letters))
    else:
        make_run(tmp_path / "elsewhere" / "run", model_type="adapter", seed=9)
        file.write_bytes((tmp_path / "elsewhere" / changed).read_bytes())
        assert file.stat().st_size == len(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = predictor(run).run(Job(battles, folder=work)).log_probs
    np.testing.assert_array_equal(after, predictor(run).predict(battles))
    assert np.abs(after - before).max() > 0.01


@pytest.mark.parametrize("name", ["bert", "llama-adapter"])
def test_more_tokens_than_the_model_has_positions_are_refused_before_a_row_is_scored(
    name: str, runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorer, "score", lambda *_: pytest.fail("rows were scored"))
    with pytest.raises(ModelError, match="max_length is 2049, but the model has 2048 positions"):
        predictor(runs[name], max_length=2049).predict(battles)


@pytest.mark.parametrize("name", ["bert", "llama-adapter"])
def test_longer_texts_than_in_training_are_read_whole_and_kept_apart(
    name: str, runs: dict[str, Path], battles: Any, tmp_path: Path
) -> None:
    few = battles.select(range(8))
    trained = predictor(runs[name]).run(Job(few, folder=tmp_path))
    longer = predictor(runs[name], max_length=2048).run(Job(few, folder=tmp_path))
    assert trained.truncated is not None and longer.truncated is not None
    assert trained.truncated.any() and not longer.truncated.any()
    np.testing.assert_array_equal(longer.log_probs, predictor(runs[name], max_length=2048).predict(few))
    changed = np.abs(longer.log_probs - trained.log_probs).max(axis=1) > 1e-4
    np.testing.assert_array_equal(changed, trained.truncated)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["banana", "cuda:99"])
def test_a_device_that_is_not_here_is_refused_before_a_model_is_opened(name: str, runs: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match=f"device '{name}'"):
        open_predictor(PredictionFlags(model=[str(runs["bert"])], device=name))
