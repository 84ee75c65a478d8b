"""Baselines and judges that ship, asked about texts in memory: the numbers of predict.py, and rewards that are margins."""

from pathlib import Path

import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.reading.in_memory import make_battles
from arena_data.style.features import style_of_texts
from reward_model.api import Probabilities, RewardModel
from reward_model.baselines.base import class_of
from reward_model.baselines.regression.frozen import Frozen
from reward_model.baselines.regression.style import StyleRegression
from reward_model.calibration.blending import Blend
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import open_member
from reward_model.run_directory.load_model import LoadOptions
from tests.helpers.made_battles import Make

SAMPLE = Path(__file__).parents[3] / "arena_data" / "sample.csv"
COLUMNS = ("prompt", "response_a", "response_b")


@pytest.fixture(scope="module")
def judge() -> RewardModel:
    return RewardModel.from_pretrained("arena-style")


def test_a_judge_says_the_same_of_texts_as_of_a_file_and_knows_no_side(judge: RewardModel) -> None:
    battles = load_battles(SAMPLE).select(range(60))
    prompts, a, b = (list(battles[name]) for name in COLUMNS)
    member = open_member("arena-style", MemberOptions(LoadOptions()))
    expected = np.exp(member.predict(Job(battles)).log_probs)
    assert member.name == "arena-style"
    np.testing.assert_array_equal(judge.compare(prompts, a, b), expected)
    np.testing.assert_array_equal(judge.compare(prompts, b, a), expected[:, [1, 0, 2]])
    one = judge.compare("Why?", "It is\r\nso.", "It is\nso.")
    assert isinstance(one, Probabilities) and one.a == one.b and sum(one) == pytest.approx(1)
    with pytest.raises(ValueError, match="1 prompts, 2 and 1 responses"):
        judge.compare(["?"], ["a", "b"], ["c"])


def test_a_style_judge_prefers_an_answer_to_none_and_is_no_reward_to_train_on(judge: RewardModel) -> None:
    answer = (
        "An apple falls because the earth and the apple attract each other, and the apple is much easier to move.\n\n"
        "1. **Mass attracts mass.** The more of it there is, the stronger the pull.\n"
        "2. **Distance matters.** Twice as far away, the pull is a quarter as strong.\n\n"
        "So everything near the ground speeds up by about ten metres per second in every second of its fall."
    )
    probabilities = judge.compare("Why does it fall?", answer, "No.")
    assert probabilities.a > probabilities.b + 0.1
    rewards = judge.reward(["Why does it fall?"] * 2, [answer, "No."])
    assert rewards[0] > rewards[1]
    with pytest.raises(InputError, match="no reward to train on"):
        judge.trl_reward(["?"], [answer])
    with pytest.raises(InputError, match="is no trained run"):
        _ = judge.run


def test_a_style_reward_is_the_margin_over_a_response_of_average_style(judge: RewardModel) -> None:
    baseline = judge.scorer.stored.baseline  # type: ignore[attr-defined]
    assert isinstance(baseline, StyleRegression)
    style = style_of_texts([["Why?"]], [["Because it is so.\n\n1. One\n2. Two"]], [["x"]])
    average = style.__class__(style.a, baseline.scale.side.mean[None], style.similarity)
    log_probs = baseline.log_probabilities_of(average)
    assert baseline.rewards(style.a)[0] == pytest.approx(log_probs[0, 0] - log_probs[0, 1], abs=1e-4)


def test_a_frozen_reward_is_the_margin_between_texts_of_one_style(
    make: dict[str, Make], tiny_bert: str, tmp_path: Path
) -> None:
    """All words have six letters, so margins are of vectors alone, and rewards must add up to them."""
    baseline = Frozen(tiny_bert, max_length=64)
    baseline.fit(make["words"](200, 1, words=4))
    baseline.save(tmp_path / "frozen")
    model = RewardModel.from_pretrained(tmp_path / "frozen", device="cpu", calibrated=False)
    a, b = ["silver garden button market"], ["candle forest window garden"]
    probabilities = model.compare(["Question?"], a, b)
    rewards = [model.reward(["Question?"], side)[0] for side in (a, b)]
    assert rewards[0] - rewards[1] == pytest.approx(np.log(probabilities[0, 0] / probabilities[0, 1]), abs=1e-5)
    assert abs(rewards[0] - rewards[1]) > 1e-3
    with pytest.raises(InputError, match="keeps its style and its dtype"):
        RewardModel.from_pretrained(tmp_path / "frozen", style=False)


def test_another_baseline_compares_and_has_no_reward(make: dict[str, Make], tmp_path: Path) -> None:
    battles = make["length"](120, 1)
    baseline = class_of("length_buckets")()
    baseline.fit(battles)
    baseline.save(tmp_path / "buckets")
    model = RewardModel.from_pretrained(tmp_path / "buckets")
    texts = [["?"], ["word " * 40], ["word"]]
    np.testing.assert_allclose(
        model.compare(*texts), np.exp(baseline.log_probabilities(make_battles(*texts))), atol=1e-12
    )
    with pytest.raises(InputError, match="no reward of one response"):
        model.reward("?", "word")


def test_a_judge_is_a_member_of_a_blend_by_its_name(tmp_path: Path) -> None:
    from arena_data.file_io import write_json

    write_json(tmp_path / "blend.json", Blend(("arena-style",), (1.0,)).to_json())
    battles = load_battles(SAMPLE).select(range(5))
    alone, blended = (
        open_member(name, MemberOptions(LoadOptions())).predict(Job(battles)).log_probs
        for name in ("arena-style", str(tmp_path))
    )
    np.testing.assert_allclose(blended, alone, atol=1e-12)
