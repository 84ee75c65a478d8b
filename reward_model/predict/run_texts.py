"""A run directory's scores of texts in memory: those of `predict.py`, with or without what style explains."""

from collections.abc import Sequence

import numpy as np

from arena_data.errors import InputError
from arena_data.reading.cleaning import Text
from arena_data.reading.in_memory import make_battles
from reward_model.errors import ScoringError
from reward_model.model.four_outcomes import usable
from reward_model.predict.member import Job, MemberOptions, MemberPrediction
from reward_model.predict.run_member import RunMember
from reward_model.predict.text_scorer import Errors, FloatArray
from reward_model.run_directory.load_model import LoadOptions
from reward_model.run_directory.reading import RunDirectory


class RunTexts:
    """A trained run. `member` knows what style does to votes if that was asked for; `plain` leaves style out."""

    caution = ""
    has_probabilities = True

    def __init__(self, member: RunMember):
        self.member = member
        self.plain = member.sharing(style=False)
        self.name = member.name
        self.is_grounded = member.is_grounded
        self.reward_note = "length and format left out" if member.encoding.scores_responses else None

    @classmethod
    def of(
        cls, run: RunDirectory, load: LoadOptions, *, batch_tokens: int | None, style: bool, calibrated: bool
    ) -> "RunTexts":
        """Loads the run's model. Raises: ModelError, one line, for one that cannot be used."""
        options = MemberOptions(load=load, batch_tokens=batch_tokens, style=style, calibrated=calibrated)
        # Half the bias of position would stay in a joint model that reads one order.
        return cls(RunMember(run, options).sharing(swap_average=1.0))

    def rewards(self, prompts: Sequence[Text], responses: Sequence[Text], errors: Errors) -> FloatArray:
        if not self.member.encoding.scores_responses:
            raise InputError(
                f"a {self.member.encoding.name} encoding has no reward of one response; use compare, or train with separate"
            )
        scores = self.predicted(self.plain, errors, prompts, responses, responses).scores
        assert scores is not None
        return np.asarray(scores.reward_a, dtype=np.float64)

    def usable(self, prompts: Sequence[Text], responses: Sequence[Text], errors: Errors) -> FloatArray:
        """float64 [n], as `RewardModel.usable` says. Raises: InputError for a run without both-bad as an outcome."""
        if not self.member.is_grounded:
            raise InputError("the run knows no absolute zero", fix="train with --outcomes four, or use reward")
        scores = self.predicted(self.member, errors, prompts, responses, responses).scores
        assert scores is not None
        return usable(scores.reward_a)

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

    def predicted(self, member: RunMember, errors: Errors, *texts: Sequence[Text]) -> MemberPrediction:
        """What a member says of texts: prompts, responses A, responses B.

        Args:
            member: `self.member`, or `self.plain`, which leaves style out.
            errors: with `nan` the log-probabilities of what failed are the class prior's.

        Raises: ScoringError where a battle has failed, unless NaN is asked for.
        """
        prediction = member.predict(Job(make_battles(*texts)))
        if errors == "raise" and prediction.failed.any():
            failed = np.flatnonzero(prediction.failed)
            why = member.first_error or "its scores are not finite, or its text cannot be tokenised"
            raise ScoringError(
                f"text {failed[0]} of {len(prediction.failed)} (counted from 0) cannot be scored: {why}"
                f"{f'; {len(failed)} failed in all' if len(failed) > 1 else ''}"
            )
        return prediction
