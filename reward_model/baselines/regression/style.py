"""Style alone: how much of a verdict can be told from length, lists, headings and the like, without reading a word.

A Davidson regression (`reward_model.baselines.regression.davidson`) on the style features of
`arena_data.style.features`. Their differences move the margin, also saturated by tanh, since a first list tells more
than a tenth; their absolute differences, their mean levels and the similarity of the texts move the tie strength.
The ridge penalty, and what an extra battle counts beside our own (which may be nothing), are chosen by
cross-validation on our own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import datasets
import numpy as np
from safetensors.numpy import load_file, save

from arena_data.file_io import json_object, read_json, write_bytes_atomically, write_json
from arena_data.style.features import STYLE_VERSION, StyleArrays, style_arrays
from reward_model.baselines.base import Baseline, FloatArray
from reward_model.baselines.cross_validation import choose, fold_of_row
from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.davidson import Design, Weights
from reward_model.baselines.regression.sample import EXTRA_WEIGHTS, IntArray, sample_of

PENALTIES = (0.3, 0.1, 0.03, 0.01)
# Standard deviations: what lies further out is an outlier, which a linear model must not follow.
LIMIT = 8.0
ARRAYS, STATE = "style.safetensors", "state.json"


class Scale(NamedTuple):
    """Mean [F] and spread [F] of features in training."""

    mean: FloatArray
    spread: FloatArray

    @staticmethod
    def of(features: FloatArray) -> "Scale":
        spread = features.std(axis=0)
        # A feature that never varied says nothing: so wide a spread that it stays at 0.
        return Scale(features.mean(axis=0), np.where(spread > 1e-6, spread, 1e6))

    def apply(self, features: FloatArray) -> FloatArray:
        scaled: FloatArray = np.clip((features - self.mean) / self.spread, -LIMIT, LIMIT)
        return scaled

    def arrays(self, name: str) -> dict[str, FloatArray]:
        """By names for a file; `from_arrays` is the inverse."""
        return {f"{name}_{field}": values for field, values in self._asdict().items()}

    @staticmethod
    def from_arrays(arrays: dict[str, FloatArray], name: str) -> "Scale":
        return Scale(*(arrays[f"{name}_{field}"] for field in Scale._fields))


class StyleFeatures(NamedTuple):
    """Style as a regression reads it. side, pair: scales of the response and of the pair features in training."""

    side: Scale
    pair: Scale

    @staticmethod
    def of(style: StyleArrays) -> "StyleFeatures":
        return StyleFeatures(Scale.of(np.concatenate([style.a, style.b]).astype(np.float64)), Scale.of(_pair(style)))

    def __call__(self, style: StyleArrays) -> tuple[FloatArray, FloatArray]:
        """(odd [n, 2F], even [n, 2F + 1]): differences, also saturated; absolute differences, similarity, mean levels."""
        a, b = (self.side.apply(side.astype(np.float64)) for side in (style.a, style.b))
        difference = a - b
        odd = np.concatenate([difference, np.tanh(difference)], axis=1)
        return odd, np.concatenate([self.pair.apply(_pair(style)), (a + b) / 2], axis=1)

    def arrays(self) -> dict[str, FloatArray]:
        """By names for a file; `from_arrays` is the inverse."""
        return {**self.side.arrays("side"), **self.pair.arrays("pair")}

    @staticmethod
    def from_arrays(arrays: dict[str, FloatArray]) -> "StyleFeatures":
        return StyleFeatures(Scale.from_arrays(arrays, "side"), Scale.from_arrays(arrays, "pair"))


class StyleSettings(NamedTuple):
    """penalty: of the ridge; extra_weight: what one extra battle counts, where there are any."""

    penalty: float
    extra_weight: float


@dataclass
class StyleRegression(Baseline):
    """Davidson regression on style features."""

    kind: ClassVar[str] = "style"
    versions: ClassVar[dict[str, int]] = {"style": STYLE_VERSION}
    takes_extra: ClassVar[bool] = True

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        style = style_arrays(battles, progress=False)
        self.style = StyleFeatures.of(style)
        sample = sample_of(battles, self.style(style), extra, self._features(extra) if extra else None)
        self.sources = sample.sources
        weights = EXTRA_WEIGHTS if sample.others else (0.0,)
        candidates = [StyleSettings(penalty, weight) for weight in weights for penalty in PENALTIES]

        def held_out(settings: StyleSettings, rows: IntArray, rest: IntArray) -> FloatArray:
            return sample.held_out_losses(rows, rest, settings.penalty, settings.extra_weight)

        self.settings, _ = choose(candidates, fold_of_row(battles), held_out)
        self.weights = sample.fit(sample.ours, self.settings.penalty, self.settings.extra_weight)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        return davidson.log_probabilities(Design.plain(*self._features(battles), len(self.sources)), self.weights)

    def save_state(self, directory: Path) -> None:
        arrays = {**self.style.arrays(), **self.weights.arrays()}
        write_bytes_atomically(directory / ARRAYS, save({name: np.ascontiguousarray(v) for name, v in arrays.items()}))
        write_json(directory / STATE, {**self.settings._asdict(), "sources": self.sources})

    def load_state(self, directory: Path) -> None:
        arrays, state = load_file(directory / ARRAYS), read_json(directory / STATE, json_object)
        self.style, self.weights = StyleFeatures.from_arrays(arrays), Weights.from_arrays(arrays)
        self.settings = StyleSettings(*(state[name] for name in StyleSettings._fields))
        self.sources = list(state["sources"])

    def _features(self, battles: datasets.Dataset) -> tuple[FloatArray, FloatArray]:
        return self.style(style_arrays(battles, progress=False))


def _pair(style: StyleArrays) -> FloatArray:
    """float64 [n, F + 1]: the pair features of `arena_data.style.features`."""
    return np.concatenate([np.abs(style.a - style.b), style.similarity[:, None]], axis=1).astype(np.float64)
