"""Blends and stock reward models from Python: the numbers of predict.py, and what each cannot give."""

from pathlib import Path

import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.file_io import write_json
from arena_data.reading.in_memory import make_battles
from reward_model.api import RewardModel
from reward_model.calibration.blending import Blend
from reward_model.calibration.calibration import Calibration
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import open_member
from reward_model.predict.stock_rewards import StockScorer
from reward_model.run_directory.load_model import LoadOptions
from reward_model.run_directory.settings import BLEND
from tests.helpers.run_directories import make_run
from tests.helpers.tiny_models import write_stock_llama

OPTIONS = MemberOptions(LoadOptions(dtype="float32", device="cpu"))
TEXTS = ["What is 2 + 2?", "Sing."], ["4.", "La la."], ["5.", "No, **never**."]


def opened(folder: Path, **settings: object) -> RewardModel:
    return RewardModel.from_pretrained(folder, dtype="float32", device="cpu", **settings)  # type: ignore[arg-type]


def make_blend(folder: Path, *members: str) -> Path:
    folder.mkdir()
    weights = tuple([1 / len(members)] * len(members))
    write_json(
        folder / BLEND, Blend(members, weights, "linear", Calibration("temperature", {"temperature": 2.0})).to_json()
    )
    return folder


def test_a_blend_compares_as_its_predictions_do_and_has_no_reward(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    folder = make_blend(tmp_path / "blend", str(run), "arena-style")
    model = opened(folder)
    expected = np.exp(open_member(str(folder), OPTIONS).predict(Job(make_battles(*TEXTS))).log_probs)
    np.testing.assert_allclose(model.compare(*TEXTS), expected, atol=1e-6)
    assert np.ptp(expected, axis=0).max() > 1e-3
    raw = opened(folder, calibrated=False).compare(*TEXTS)
    assert np.abs(raw - expected).max() > 1e-3
    without = opened(folder, style=False).compare(*TEXTS)
    assert np.abs(without - expected).max() > 1e-4
    with pytest.raises(InputError, match="a blend has no reward"):
        model.reward("Sing.", "La.")


def test_a_blend_without_a_run_has_no_style_to_leave_out(tmp_path: Path) -> None:
    folder = make_blend(tmp_path / "blend", "arena-style", "arena-style")
    with pytest.raises(InputError, match="no style head to leave out"):
        opened(folder, style=False)


def test_a_stock_model_has_the_rewards_of_its_own_card(tmp_path: Path) -> None:
    model = opened(write_stock_llama(tmp_path))
    expected, _ = StockScorer(str(tmp_path), device="cpu", dtype="float32").rewards(
        [[prompt] for prompt in TEXTS[0]], [[response] for response in TEXTS[1]]
    )
    np.testing.assert_allclose(model.reward(TEXTS[0], TEXTS[1]), expected, atol=1e-5)
    np.testing.assert_allclose(model.trl_reward(TEXTS[0], TEXTS[1]), expected, atol=1e-5)
    with pytest.raises(InputError, match="arena-reward calibrate"):
        model.compare(*TEXTS)


def test_a_directory_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a directory has no revision"):
        opened(make_run(tmp_path / "run"), revision="main")
