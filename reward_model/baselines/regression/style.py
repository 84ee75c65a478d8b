"""Style alone: how much of a verdict can be told from length, lists, headings and the like, without reading a word.

A Davidson regression (`reward_model.baselines.regression.davidson`) on the style features of
`arena_data.style.features`. Their differences move the margin, also saturated by tanh, since a first list tells more
than a tenth; their absolute differences, their mean levels and the similarity of the texts move the tie strength.
How closely other sources are held to ours (they may be left out), and then the ridge penalty, are chosen by
cross-validation on our own battles.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save

from arena_data.file_io import json_object, read_json, write_bytes_atomically, write_json
from arena_data.splits.folds import deal_folds
from arena_data.style.features import STYLE_VERSION, StyleArrays, style_arrays, style_of_texts
from reward_model.baselines.base import Baseline, FloatArray, verdicts_of
from reward_model.baselines.cross_validation import choose
from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.davidson import Design, Weights
from reward_model.baselines.regression.sample import CLOSENESS, IntArray, sample_of
from reward_model.model.style_head import Scale, StyleScale

if TYPE_CHECKING:
    import datasets

PENALTIES = (0.3, 0.1, 0.03, 0.01)
ARRAYS, STATE = "style.safetensors", "state.json"


def regression_features(scale: StyleScale, style: StyleArrays) -> tuple[FloatArray, FloatArray]:
    """Style as a regression reads it, float64: odd [n, 2F], differences, also saturated; even [n, 2F + 1], absolute
    differences, similarity, mean levels."""
    a, b = scale.sides(style)
    difference = a - b
    odd = np.concatenate([difference, np.tanh(difference)], axis=1)
    return odd, np.concatenate([scale.pairs(style), scale.levels(style)], axis=1)


def style_terms(scale: StyleScale, style: StyleArrays, odd: FloatArray) -> FloatArray:
    """float64 [n, F]: what each style feature adds to the margin, by its difference and the saturated one together.

    Args:
        odd: weights of the odd features, those of style first; features that only the scale knows are left out.
    """
    width, features = len(scale.side.mean), style.a.shape[1]
    side = Scale(scale.side.mean[:features], scale.side.spread[:features])
    a, b = (side.apply(one).astype(np.float64) for one in (style.a, style.b))
    reach = scale.reach.difference[:features]
    difference = np.clip(a - b, -reach, reach)
    terms: FloatArray = difference * odd[:features] + np.tanh(difference) * odd[width : width + features]
    return terms


class StyleSettings(NamedTuple):
    """penalty: of the ridge; closeness: of other sources to ours, 0 where there are none or they are left out."""

    penalty: float = 0.1
    closeness: float = 0.0


@dataclass
class StyleRegression(Baseline):
    """Davidson regression on style features."""

    kind: ClassVar[str] = "style"
    versions: ClassVar[dict[str, int]] = {"style": STYLE_VERSION}
    takes_extra: ClassVar[bool] = True
    reads_style: ClassVar[bool] = True

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        style = style_arrays(battles, progress=False)
        self.scale, more = StyleScale.of(style), None
        if extra:
            extra_style = style_arrays(extra, progress=False)
            self.scale = self.scale.reaching(extra_style)
            more = regression_features(self.scale, extra_style)
        sample = sample_of(battles, regression_features(self.scale, style), extra, more)
        self.sources = sample.sources
        part, _ = deal_folds(battles["group"], verdicts_of(battles))

        def held_out(settings: StyleSettings, rows: IntArray, rest: IntArray) -> FloatArray:
            return sample.held_out_losses(rows, rest, *settings)

        settings = StyleSettings()
        if sample.others:
            settings, _ = choose([StyleSettings(closeness=value) for value in CLOSENESS], part, held_out)
        self.settings, _ = choose([settings._replace(penalty=value) for value in PENALTIES], part, held_out)
        self.weights = sample.fit(sample.ours, *self.settings)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        return self.log_probabilities_of(style_arrays(battles, progress=False))

    def log_probabilities_with(self, battles: datasets.Dataset, style: StyleArrays) -> FloatArray:
        return self.log_probabilities_of(style)

    def log_probabilities_of(self, style: StyleArrays) -> FloatArray:
        """float64 [n, 3], of style features alone."""
        features = regression_features(self.scale, style)
        return davidson.log_probabilities(Design.plain(*features, len(self.sources)), self.weights)

    def rewards(self, side: FloatArray) -> FloatArray:
        """float64 [n]: the margins of responses, given by their features float [n, F], over one of average style."""
        standardised = self.scale.side.apply(side).astype(np.float64)
        margins: FloatArray = np.concatenate([standardised, np.tanh(standardised)], axis=1) @ self.weights.odd
        return margins

    def style_terms(self, style: StyleArrays) -> FloatArray:
        return style_terms(self.scale, style, self.weights.odd)

    def save_state(self, directory: Path) -> None:
        arrays = {**self.scale.arrays(), **self.weights.arrays()}
        write_bytes_atomically(directory / ARRAYS, save({name: np.ascontiguousarray(v) for name, v in arrays.items()}))
        write_json(directory / STATE, {**self.settings._asdict(), "sources": self.sources})

    def load_state(self, directory: Path) -> None:
        arrays, state = load_file(directory / ARRAYS), read_json(directory / STATE, json_object)
        self.scale, self.weights = StyleScale.from_arrays(arrays), Weights.from_arrays(arrays)
        # Older files have the weight of extra battles in its place.
        self.settings = StyleSettings(state["penalty"], state.get("closeness", 0.0))
        self.sources = list(state["sources"])
        if not np.isfinite(self.log_probabilities_of(style_of_texts([[""]], [[""]], [[""]]))).all():
            raise ValueError("its weights are not finite")
