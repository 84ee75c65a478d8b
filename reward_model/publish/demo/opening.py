"""What the demo can show: runs, baselines and shipped judges as `RewardModel` opens them, blends and wrapped stock models.

A blend has no reward of one response, because its members' rewards are on no common scale. A file of probabilities cannot
answer for new texts, so it is refused.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arena_data.reading.cleaning import Text
from arena_data.reading.in_memory import make_battles
from reward_model.api import RewardModel
from reward_model.errors import ScoringError
from reward_model.predict.baseline_texts import BaselineTexts
from reward_model.predict.member import Job, Member, MemberOptions
from reward_model.predict.open_member import BaselineMember, open_member
from reward_model.predict.run_texts import RunTexts
from reward_model.predict.stock_member import StockMember
from reward_model.predict.text_scorer import Errors, FloatArray
from reward_model.pretrained.judges import judge_folder
from reward_model.run_directory.load_model import LoadOptions
from reward_model.run_directory.settings import BLEND, STOCK
from reward_model.run_directory.stock import is_stock_directory


class MemberTexts:
    """A blend or a wrapped stock model as a scorer of texts, in the form of `TextScorer`."""

    caution = ""
    is_grounded = False

    def __init__(self, member: Member):
        self.member, self.name = member, member.name
        self.reward_note = "in the model's own unit" if isinstance(member, StockMember) else None

    def probabilities(
        self, prompts: Sequence[Text], responses_a: Sequence[Text], responses_b: Sequence[Text], errors: Errors
    ) -> FloatArray:
        prediction = self.member.predict(Job(make_battles(prompts, responses_a, responses_b)))
        self._check(prediction.failed, errors)
        probabilities = np.exp(prediction.log_probs)
        probabilities[prediction.failed] = np.nan
        return probabilities

    def away(
        self, prompts: Sequence[Text], responses_a: Sequence[Text], responses_b: Sequence[Text]
    ) -> list[list[str]]:
        return [[] for _ in prompts]

    def rewards(self, prompts: Sequence[Text], responses: Sequence[Text], errors: Errors) -> FloatArray:
        assert isinstance(self.member, StockMember)  # nothing else has a `reward_note`
        rewards = self.member.scores(Job(make_battles(prompts, responses, responses)))[0].reward_a
        self._check(~np.isfinite(rewards), errors)
        return rewards

    def _check(self, failed: np.ndarray, errors: Errors) -> None:
        if errors == "raise" and failed.any():
            raise ScoringError(f"a text cannot be scored: {self.member.first_error or 'its scores are not finite'}")


def open_model(
    name: str,
    *,
    base_model: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    batch_tokens: int | None = None,
) -> RewardModel:
    """Opens what a directory, a name on the Hub or the name of a shipped judge stands for.

    Raises: InputError or ModelError, one line, for what is not there or cannot score new texts.
    """
    folder = judge_folder(name) or Path(name)
    if (folder / BLEND).is_file() or (folder / STOCK).is_file() or is_stock_directory(folder):
        load = LoadOptions(base_model=base_model, dtype=dtype, device=device)
        # Half the bias of position would stay in a joint model that reads one order.
        options = MemberOptions(load=load, batch_tokens=batch_tokens, swap_average=1.0)
        return RewardModel(MemberTexts(open_member(name, options)))
    return RewardModel.from_pretrained(
        name, base_model=base_model, device=device, dtype=dtype, batch_tokens=batch_tokens
    )


def member_of(model: RewardModel) -> Member:
    """The same model as the member of a prediction, which a report needs; nothing is loaded twice."""
    scorer = model.scorer
    if isinstance(scorer, RunTexts | MemberTexts):
        return scorer.member
    assert isinstance(scorer, BaselineTexts)
    options = MemberOptions(load=LoadOptions(), calibrated=scorer.calibrated)
    return BaselineMember(Path(scorer.name), options, scorer.stored)
