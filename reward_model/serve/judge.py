"""What a server scores with: whatever `RewardModel` opens, behind one method.

Scores are those of `RewardModel`. A battle or response that cannot be scored is NaN.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from arena_data.errors import InputError
from arena_data.reading.in_memory import Text
from reward_model.predict.text_scorer import STYLE_ALONE

if TYPE_CHECKING:
    from reward_model.api import RewardModel
    from reward_model.predict.member import MemberOptions
    from reward_model.predict.text_scorer import TextScorer

FloatArray = npt.NDArray[np.float64]
Kind = Literal["reward", "battle"]


class Row(NamedTuple):
    """One thing to score. For a reward, `a` and `b` are the same response."""

    prompt: Text
    a: Text
    b: Text


class Judge(Protocol):
    """Scores rows; one thread at a time."""

    name: str
    has_rewards: bool
    has_probabilities: bool
    set_thresholds: Mapping[str, float]  # of verdict sets, by percent of coverage; nothing where they are not known

    def score(self, kind: Kind, rows: Sequence[Row]) -> FloatArray:
        """Rewards, float64 [n, 1], or P(A), P(B), P(tie), float64 [n, 3]; NaN where a row cannot be scored."""
        ...


class ModelJudge:
    """Whatever `RewardModel` opens. Style alone is no reward: a policy would learn length."""

    def __init__(self, model: "RewardModel", name: str):
        self.model, self.name = model, name
        self.has_probabilities = model.scorer.has_probabilities
        self.has_rewards = model.scorer.reward_note not in (None, STYLE_ALONE)
        self.set_thresholds = _thresholds_of_texts(model.scorer)

    def score(self, kind: Kind, rows: Sequence[Row]) -> FloatArray:
        prompts, a, b = _columns(rows)
        if kind == "reward":
            return self.model.reward(prompts, a, errors="nan")[:, None]
        return self.model.compare(prompts, a, b, errors="nan")


def open_served(path: str, options: "MemberOptions") -> Judge:
    """Opens what `path` names and loads its model.

    Args:
        path: a directory of a run, a blend, a baseline or a stock reward model; or `user/name` of a run on the Hub.

    Raises: InputError or ModelError, one line, for what cannot be opened or cannot score new texts.
    """
    from reward_model.api import RewardModel

    if os.path.isfile(path):
        raise InputError("a file of probabilities cannot score new texts", file=path, expected="a directory")
    name = Path(path).resolve().name if os.path.isdir(path) else path
    load = options.load
    model = RewardModel.from_pretrained(
        path, base_model=load.base_model, device=load.device, dtype=load.dtype, batch_tokens=options.batch_tokens
    )
    return ModelJudge(model, name)


def _thresholds_of_texts(scorer: "TextScorer") -> Mapping[str, float]:
    """What the judge's calibration has kept. A joint encoding is calibrated in one order, and `RewardModel` reads two."""
    from reward_model.predict.baseline_texts import BaselineTexts
    from reward_model.predict.member_texts import MemberTexts
    from reward_model.predict.open_member import BlendMember
    from reward_model.predict.run_texts import RunTexts

    if isinstance(scorer, MemberTexts) and isinstance(scorer.member, BlendMember):
        return {} if any(run.reads_orders for run in scorer.runs) else scorer.member.blend.calibration.set_thresholds
    if isinstance(scorer, BaselineTexts):
        return scorer.stored.calibration.set_thresholds
    if isinstance(scorer, RunTexts) and scorer.member.run.config.encoding == "separate":
        return scorer.member.run.calibration.set_thresholds
    return {}


def _columns(rows: Sequence[Row]) -> tuple[list[Text], list[Text], list[Text]]:
    return [row.prompt for row in rows], [row.a for row in rows], [row.b for row in rows]
