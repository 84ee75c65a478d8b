"""What `RewardModel` asks of whatever scores texts in memory: probabilities of battles, rewards of responses."""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from arena_data.reading.cleaning import Text

FloatArray = npt.NDArray[np.float64]
Errors = Literal["raise", "nan"]
# The note of a reward that people give to style, and that nobody should train on.
STYLE_ALONE = "style alone, not for training"


class TextScorer(Protocol):
    """A run, a baseline, a blend or a stock reward model, opened.

    name: as the reader knows it. caution: a line to print beside its answers, or nothing. reward_note: what its rewards
    leave out or count; None where a response has no reward of its own. is_grounded: whether its rewards have an absolute
    zero, above which a response is usable. has_probabilities: whether it can compare two responses.
    """

    name: str
    caution: str
    reward_note: str | None
    is_grounded: bool
    has_probabilities: bool

    def probabilities(
        self, prompts: Sequence[Text], responses_a: Sequence[Text], responses_b: Sequence[Text], errors: Errors
    ) -> FloatArray:
        """float64 [n, 3]; `errors` as `RewardModel.compare` says."""
        ...

    def away(
        self, prompts: Sequence[Text], responses_a: Sequence[Text], responses_b: Sequence[Text]
    ) -> list[list[str]]:
        """Of each battle, in which respects a judge is away from home; nothing where that is not known."""
        ...

    def rewards(self, prompts: Sequence[Text], responses: Sequence[Text], errors: Errors) -> FloatArray:
        """float64 [n]; `errors` as `RewardModel.reward` says. Raises: InputError where there are none."""
        ...
