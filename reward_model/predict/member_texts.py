"""A blend's or a stock reward model's scores of texts in memory: those of `predict.py`."""

from collections.abc import Sequence

import numpy as np

from arena_data.errors import InputError
from arena_data.reading.cleaning import Text
from arena_data.reading.in_memory import make_battles
from reward_model.errors import ScoringError
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import BlendMember, open_judge
from reward_model.predict.run_member import RunMember
from reward_model.predict.stock_member import StockMember
from reward_model.predict.text_scorer import Errors, FloatArray


class MemberTexts:
    """A blend or a stock reward model, opened.

    A blend has no reward of one response, because its members' rewards are on no common scale. A stock model has
    probabilities once it is calibrated.

    Args:
        name: of the directory.
        options: how it is read.

    Raises: InputError or ModelError, one line, for what is not there or cannot be used.
    """

    caution = ""
    is_grounded = False

    def __init__(self, name: str, options: MemberOptions):
        member = open_judge(name, options)
        assert isinstance(member, BlendMember | StockMember)
        self.runs = [one for one in getattr(member, "members", []) if isinstance(one, RunMember)]
        if not options.style and not self.runs:
            raise InputError("has no style head to leave out", file=name, fix="leave out style=False")
        self.member, self.name = member, member.name
        self.reward_note = "in the model's own unit" if isinstance(member, StockMember) else None
        self.has_probabilities = not isinstance(member, StockMember) or member.wrapped is not None

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
        if not isinstance(self.member, StockMember):
            raise InputError("a blend has no reward of one response", file=self.name, fix="use compare")
        scores, _ = self.member.scores(Job(make_battles(prompts, responses, responses)))
        rewards = np.asarray(scores.reward_a, dtype=np.float64)
        self._check(~np.isfinite(rewards), errors)
        return rewards

    def _check(self, failed: np.ndarray, errors: Errors) -> None:
        if errors == "raise" and failed.any():
            raise ScoringError(f"a text cannot be scored: {self.member.first_error or 'its scores are not finite'}")
