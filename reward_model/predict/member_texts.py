"""A prediction's member as a scorer of texts in memory: the numbers of `predict.py`, for a blend or a stock reward model.

`reward_model.predict.run_texts` adds what only a trained run has.
"""

from collections.abc import Sequence

import numpy as np

from arena_data.errors import InputError
from arena_data.reading.cleaning import Text
from arena_data.reading.in_memory import make_battles
from reward_model.errors import ScoringError
from reward_model.predict.member import Job, Member, MemberOptions, MemberPrediction
from reward_model.predict.open_member import open_judge
from reward_model.predict.run_member import RunMember
from reward_model.predict.stock_member import StockMember
from reward_model.predict.text_scorer import Errors, FloatArray


class MemberTexts:
    """A member, opened.

    A blend has no reward of one response, because its members' rewards are on no common scale. A stock model has
    probabilities once it is calibrated.
    """

    caution = ""
    is_grounded = False

    def __init__(self, member: Member):
        self.member, self.name = member, member.name
        self.reward_note = "in the model's own unit" if isinstance(member, StockMember) else None
        self.has_probabilities = not isinstance(member, StockMember) or member.wrapped is not None

    @classmethod
    def of(cls, name: str, options: MemberOptions) -> "MemberTexts":
        """Opens the directory of a blend or a stock model.

        Raises: InputError or ModelError, one line, for what cannot be used, and for style to leave out where no run is.
        """
        texts = cls(open_judge(name, options))
        if not options.style and not texts.runs:
            raise InputError("has no style head to leave out", file=name, fix="leave out style=False")
        return texts

    @property
    def runs(self) -> list[RunMember]:
        """The runs within a blend."""
        return [one for one in getattr(self.member, "members", []) if isinstance(one, RunMember)]

    def probabilities(
        self, prompts: Sequence[Text], responses_a: Sequence[Text], responses_b: Sequence[Text], errors: Errors
    ) -> FloatArray:
        prediction = self.predicted(self.member, errors, prompts, responses_a, responses_b)
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
        check_scored(self.member, ~np.isfinite(rewards), errors)
        return rewards

    def predicted(self, member: Member, errors: Errors, *texts: Sequence[Text]) -> MemberPrediction:
        """What a member says of texts: prompts, responses A, responses B.

        Args:
            member: `self.member`, or the same read in another way.
            errors: with `nan` the log-probabilities of what failed are the class prior's.

        Raises: ScoringError where a battle has failed, unless NaN is asked for.
        """
        prediction = member.predict(Job(make_battles(*texts)))
        check_scored(member, prediction.failed, errors)
        return prediction


def check_scored(member: Member, failed: np.ndarray, errors: Errors) -> None:
    """Raises: ScoringError for the first text that failed, unless NaN is asked for. failed: bool [n]."""
    if errors == "raise" and failed.any():
        places = np.flatnonzero(failed)
        why = member.first_error or "its scores are not finite, or its text cannot be tokenised"
        raise ScoringError(
            f"text {places[0]} of {len(failed)} (counted from 0) cannot be scored: {why}"
            f"{f'; {len(places)} failed in all' if len(places) > 1 else ''}"
        )
