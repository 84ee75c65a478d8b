"""The regression on a frozen backbone with one thing done otherwise: arms of questions, not for use.

What a question found to be no better stays here, so that it can be asked again, and out of `baselines`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import numpy as np

from arena_data.splits.folds import deal_folds
from arena_data.style.features import StyleArrays, style_arrays
from arena_data.transcripts.shortening import Keep
from experiments.cross_reading import CrossReading
from reward_model.baselines.base import FloatArray, class_of, verdicts_of
from reward_model.baselines.cross_validation import choose, splits
from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.davidson import Design
from reward_model.baselines.regression.frozen import Frozen, Read
from reward_model.baselines.regression.sample import IntArray, Sample
from reward_model.baselines.regression.style import regression_features
from reward_model.evaluation.probabilities import row_losses
from reward_model.model.style_head import Scale

TIES = ("distance", "mean", "style", "global")
STYLES = ("on", "off", "calibration")
TIE_FREE = ("truncated", "wins")
WITHOUT = ("", "vectors", "likelihood")
# Of the second step, on top of a margin and a tie strength that are learned already.
STYLE_PENALTIES = (0.3, 0.1, 0.03, 0.01)


@dataclass
class FrozenVariant(Frozen):
    """One thing done otherwise.

    Args:
        ties: what moves the tie strength: `distance` of the vectors and style, their `mean` and style, `style` alone, or
            nothing (`global`: one tie strength for all battles).
        style: `on`, `off`, or `calibration`: fitted afterwards, on predictions out of fold of the vectors alone.
        tie_free: battles of a source without ties: `truncated`, given that they are none, or plain `wins`.
        source_offset: whether each other source has a tie rate of its own.
        keep: which end of a cut text is kept.
        whole_scale: one scale for all dimensions of a vector, not one each.
        without: what is left out of what the backbone tells: nothing, `vectors`, or `likelihood`.
    """

    kind: ClassVar[str] = "frozen_variant"

    ties: str = "distance"
    style_features: str = "on"
    tie_free: str = "truncated"
    source_offset: bool = True
    keep: Keep = "both"
    whole_scale: bool = False
    without: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = {"ties": TIES, "style_features": STYLES, "tie_free": TIE_FREE, "without": WITHOUT}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(values)}")
        self.embedder.keep = self.keep
        self.second: davidson.Weights | None = None

    def read(self, battles: datasets.Dataset, counted: StyleArrays | None = None) -> Read:
        read = super().read(battles, counted)
        if self.without == "vectors":
            return read._replace(a=np.zeros_like(read.a), b=np.zeros_like(read.b))
        if self.without == "likelihood":
            return read._replace(style=style_arrays(battles, progress=False))
        return read

    def _learn_scales(self, read: Read) -> None:
        super()._learn_scales(read)
        if self.whole_scale:
            self.side, self.distance = (
                Scale(scale.mean, np.full_like(scale.spread, np.sqrt(np.mean(scale.spread**2))))
                for scale in (self.side, self.distance)
            )

    def features(self, read: Read) -> tuple[FloatArray, FloatArray]:
        odd, even = super().features(read)
        width = len(self.side.mean)
        if self.ties == "mean":
            even[:, -width:] = (self.side.apply(read.a) + self.side.apply(read.b)) / 2
        elif self.ties == "style":
            even[:, -width:] = 0
        elif self.ties == "global":
            even[:] = 0
        if self.style_features != "on":
            odd[:, :-width] = 0
            even[:, :-width] = 0
        return odd, even

    def _sample(self, battles: datasets.Dataset, read: Read, extra: datasets.Dataset | None) -> Sample:
        sample = super()._sample(battles, read, extra)
        design = sample.design
        if self.tie_free == "wins":
            # With an offset of its own such a source would be as one without ties.
            free = (design.source.T @ ~design.tie_observed > 0).astype(float)
            design = design._replace(
                tie_observed=np.ones(len(design.odd), dtype=bool), source=design.source * (1 - free)
            )
        if not self.source_offset:
            design = design._replace(source=np.zeros_like(design.source))
        return sample._replace(design=design)

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        super().fit(battles, extra)
        if self.style_features == "calibration":
            self._fit_second(battles)

    def _fit_second(self, battles: datasets.Dataset) -> None:
        """Style on top of what the vectors say out of fold, by settings chosen on all folds."""
        verdicts, read = verdicts_of(battles), self.read(battles)
        part, _ = deal_folds(battles["group"], verdicts)
        design = Design.plain(*self.features(read), len(self.sources))
        learned = np.zeros((len(battles), 2))
        for rows, rest in splits(part):
            weights = davidson.fit(design.rows(rows), verdicts[rows], self._penalty(self.settings))
            learned[rest] = self._strengths(design.rows(rest), weights)
        second = self._second_design(read, learned)
        free = [np.concatenate([[1e-3], np.ones(part.shape[1] - 1)]) for part in (second.odd, second.even)]

        def held_out(penalty: float, rows: IntArray, rest: IntArray) -> FloatArray:
            fitted = davidson.fit(second.rows(rows), verdicts[rows], penalty * np.concatenate(free))
            return row_losses(davidson.log_probabilities(second.rows(rest), fitted), verdicts[rest])

        penalty, _ = choose(STYLE_PENALTIES, part, held_out)
        self.second = davidson.fit(second, verdicts, penalty * np.concatenate(free))

    def _strengths(self, design: Design, weights: davidson.Weights) -> FloatArray:
        """float64 [n, 2]: margin and tie strength."""
        return np.stack([design.odd @ weights.odd, design.even @ weights.even + weights.bias], axis=1)

    def _second_design(self, read: Read, learned: FloatArray) -> Design:
        odd, even = regression_features(self.style_scale, read.style)
        return Design.plain(np.column_stack([learned[:, 0], odd]), np.column_stack([learned[:, 1], even]))

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        if self.second is None:
            return super().log_probabilities(battles)
        read = self.read(battles)
        design = Design.plain(*self.features(read), len(self.sources))
        return davidson.log_probabilities(self._second_design(read, self._strengths(design, self.weights)), self.second)


def variant_or_baseline(kind: str) -> type[Any]:
    """Raises: ValueError for an unknown kind."""
    own = {one.kind: one for one in (FrozenVariant, CrossReading)}
    return own[kind] if kind in own else class_of(kind)
