"""Whatever scores texts can be shown; the rest is refused in one line."""

from pathlib import Path

import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.file_io import write_json
from arena_data.reading.in_memory import make_battles
from reward_model.api import RewardModel
from reward_model.calibration.blending import Blend
from reward_model.predict.member import Job
from reward_model.predict.open_member import BaselineMember
from reward_model.publish.demo.comparison import compare
from reward_model.publish.demo.opening import member_of
from reward_model.publish.demo.shown import comparison_html
from reward_model.run_directory.settings import BLEND

BATTLE = ("What is 2 + 2?", "4.", "- Five!\n- **Or six?**")


def said_by_member(name: str, model_device: str = "cpu") -> None:
    model = RewardModel.from_pretrained(name, device=model_device)
    expected = np.exp(member_of(model).predict(Job(make_battles(*([text] for text in BATTLE)))).log_probs[0])
    shown = compare(model, *BATTLE)
    assert list(shown.probabilities) == pytest.approx(expected.tolist(), abs=1e-6)
    assert "A is better" in comparison_html(shown, *BATTLE)


def test_a_run_a_judge_and_their_blend_say_what_their_predictions_say(runs: dict[str, Path], tmp_path: Path) -> None:
    members = ("arena-style", str(runs["bert"]), str(runs["bert-joint"]))
    write_json(tmp_path / BLEND, Blend(members, (0.5, 0.3, 0.2)).to_json())
    for name in (str(tmp_path), str(runs["bert"]), "arena-style"):
        said_by_member(name)
    shown = compare(RewardModel.from_pretrained(str(tmp_path), device="cpu"), *BATTLE)
    a, b, tie = shown.probabilities
    assert shown.rewards is None and not shown.style
    assert list(shown.swapped) == pytest.approx([b, a, tie], abs=1e-5)


def test_a_baseline_is_read_once() -> None:
    model = RewardModel.from_pretrained("arena-style")
    member = member_of(model)
    assert isinstance(member, BaselineMember) and member.stored is model.scorer.stored  # type: ignore[attr-defined]
    assert member.name == "arena-style"


def test_what_cannot_score_new_texts_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "probabilities.csv").write_text("id,winner_model_a,winner_model_b,winner_tie\n1,0.3,0.3,0.4\n")
    for name in (str(tmp_path / "probabilities.csv"), str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(InputError) as raised:
            RewardModel.from_pretrained(name)
        assert "\n" not in str(raised.value)
