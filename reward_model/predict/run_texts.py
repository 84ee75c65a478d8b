"""A run directory's scores of texts in memory: those of `predict.py`, with or without what style explains."""

from collections.abc import Sequence

import numpy as np

from arena_data.errors import InputError
from arena_data.reading.cleaning import Text
from reward_model.model.four_outcomes import usable
from reward_model.predict.member import MemberOptions
from reward_model.predict.member_texts import MemberTexts
from reward_model.predict.run_member import RunMember
from reward_model.predict.text_scorer import Errors, FloatArray
from reward_model.run_directory.load_model import LoadOptions
from reward_model.run_directory.reading import RunDirectory


class RunTexts(MemberTexts):
    """A trained run. `member` knows what style does to votes if that was asked for; `plain` leaves style out."""

    member: RunMember

    def __init__(self, member: RunMember):
        super().__init__(member)
        self.plain = member.sharing(style=False)
        self.is_grounded = member.is_grounded
        self.reward_note = "length and format left out" if member.encoding.scores_responses else None

    @classmethod
    def of_run(
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
