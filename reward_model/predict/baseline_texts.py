"""A baseline's scores of texts in memory, judges that ship among them.

A judge of style answers in a second: it counts, and imports neither PyTorch nor `datasets`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arena_data.errors import InputError
from arena_data.reading.cleaning import Text, clean_texts
from arena_data.style.features import StyleArrays, style_of_texts
from arena_data.style.languages import guess_languages
from reward_model.baselines.base import open_baseline
from reward_model.predict.text_scorer import STYLE_ALONE, Errors, FloatArray

_NOTES = {"style": STYLE_ALONE, "frozen": "length and format left out"}


class BaselineTexts:
    """A baseline's directory, opened.

    Args:
        folder: of the baseline.
        base_model: directory of its backbone, in the place of the one that it names.
        device: that its backbone computes on, such as `cpu`; None for the first accelerator.
        calibrated: whether `probabilities` are calibrated, and drawn towards the prior away from home.

    Raises: InputError or ModelError, one line, for what is not there or cannot be used.
    """

    is_grounded = False
    has_probabilities = True

    def __init__(self, folder: Path, base_model: str | None = None, device: str | None = None, calibrated: bool = True):
        self.stored, self.calibrated = open_baseline(folder, base_model, device), calibrated
        self.name = self.stored.judge.name if self.stored.judge else folder.name
        self.caution = self.stored.judge.caution if self.stored.judge else ""
        self.reward_note = _NOTES.get(self.stored.baseline.kind)

    def probabilities(
        self, prompts: Sequence[Text], responses_a: Sequence[Text], responses_b: Sequence[Text], errors: Errors
    ) -> FloatArray:
        texts, style = self._counted(prompts, responses_a, responses_b)
        if self.stored.baseline.kind == "style":
            raw = self.stored.baseline.log_probabilities_of(style)  # type: ignore[attr-defined]  # of StyleRegression
            log_probs = (
                self.stored.finished(raw, lambda: style, lambda: guess_languages(*texts)) if self.calibrated else raw
            )
        else:
            from arena_data.reading.in_memory import make_battles  # a second to import

            log_probs = self.stored.predict(
                make_battles(prompts, responses_a, responses_b), lambda: style, self.calibrated
            )
        return np.exp(log_probs)

    def away(
        self, prompts: Sequence[Text], responses_a: Sequence[Text], responses_b: Sequence[Text]
    ) -> list[list[str]]:
        """Of each battle, in which respects the judge is away from home."""
        texts, style = self._counted(prompts, responses_a, responses_b)
        if self.stored.judge is None:
            return [[] for _ in prompts]
        return self.stored.judge.away.told(style, lambda: guess_languages(*texts))

    def rewards(self, prompts: Sequence[Text], responses: Sequence[Text], errors: Errors) -> FloatArray:
        baseline = self.stored.baseline
        if baseline.kind == "style":
            _, style = self._counted(prompts, responses, responses)
            rewards = baseline.rewards(style.a)  # type: ignore[attr-defined]  # of StyleRegression
        elif baseline.kind == "frozen":
            from arena_data.reading.in_memory import make_battles

            rewards = baseline.rewards(make_battles(prompts, responses, responses))  # type: ignore[attr-defined]  # of Frozen
        else:
            raise InputError(f"a {baseline.kind} baseline has no reward of one response", fix="use compare")
        return np.asarray(rewards, dtype=np.float64)

    def _counted(self, *columns: Sequence[Text]) -> tuple[list[list[list[str]]], StyleArrays]:
        """The cleaned texts, column by column, and their style. Raises: ValueError for columns of unequal length."""
        if len({len(column) for column in columns}) > 1:
            prompts, a, b = map(len, columns)
            raise ValueError(f"{prompts} prompts, {a} and {b} responses; expected as many of each")
        texts = [clean_texts(column) for column in columns]
        return texts, style_of_texts(*texts)
