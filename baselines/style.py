"""Style alone: how much of a verdict can be told from length, lists, headings and the like, without reading a word.

A Davidson regression (`baselines.davidson`) on the style features of `arena_data.style`. Their differences move the margin,
also saturated by tanh, since a first list tells more than a tenth; their absolute differences, their mean levels and the
similarity of the texts move the tie strength. The ridge penalty, and what an extra battle counts beside our own (which may
be nothing), are chosen by cross-validation on our own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import datasets
import numpy as np
from safetensors.numpy import load_file, save

from arena_data.output import write_bytes_atomically
from arena_data.style import STYLE_VERSION, StyleArrays, style_arrays
from baselines import davidson
from baselines.base import Baseline, FloatArray, read_json, verdicts_of, write_json
from baselines.cross_validation import choose, fold_of_row, losses
from baselines.davidson import Design, Weights

PENALTIES = (0.3, 0.1, 0.03, 0.01)
EXTRA_WEIGHTS = (0.0, 0.1, 0.5)
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
        verdicts, part = verdicts_of(battles), fold_of_row(battles)
        style = style_arrays(battles, progress=False)
        self.side = Scale.of(np.concatenate([style.a, style.b]).astype(np.float64))
        self.pair = Scale.of(_pair(style))
        odd, even = self._features(style)
        self.sources: list[str] = []
        if extra is None or len(extra) == 0:
            design, all_verdicts, groups = Design.plain(odd, even), verdicts, np.zeros(0, dtype=str)
        else:
            more, more_verdicts = self._extra_design(extra), verdicts_of(extra)
            own = Design.plain(odd, even, len(self.sources))
            design = Design(*(np.concatenate(pair) for pair in zip(own, more, strict=True)))
            all_verdicts = np.concatenate([verdicts, more_verdicts])
            groups = np.asarray(list(extra["group"]))
        own_groups = np.asarray(list(battles["group"]))
        extra_rows = len(verdicts) + np.arange(len(groups))

        def fitted_on(settings: StyleSettings, rows: np.ndarray, others: np.ndarray) -> Weights:
            chosen = np.concatenate([rows, others]) if settings.extra_weight > 0 else rows
            weight = np.where(chosen < len(verdicts), 1.0, settings.extra_weight)
            return davidson.fit(design.rows(chosen), all_verdicts[chosen], settings.penalty, weight)

        def held_out(settings: StyleSettings, rows: np.ndarray, rest: np.ndarray) -> FloatArray:
            # A held-out prompt must not be learned from another source either.
            others = extra_rows[~np.isin(groups, own_groups[rest])]
            found = fitted_on(settings, rows, others)
            return losses(davidson.log_probabilities(design.rows(rest), found), verdicts[rest])

        weights = EXTRA_WEIGHTS if len(extra_rows) else (0.0,)
        candidates = [StyleSettings(penalty, weight) for weight in weights for penalty in PENALTIES]
        self.settings, _ = choose(candidates, part, held_out)
        self.weights = fitted_on(self.settings, np.arange(len(verdicts)), extra_rows)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        odd, even = self._features(style_arrays(battles, progress=False))
        return davidson.log_probabilities(Design.plain(odd, even, len(self.sources)), self.weights)

    def save_state(self, directory: Path) -> None:
        arrays = {
            **{f"side_{name}": values for name, values in self.side._asdict().items()},
            **{f"pair_{name}": values for name, values in self.pair._asdict().items()},
            **{f"weight_{name}": np.atleast_1d(values) for name, values in self.weights._asdict().items()},
        }
        write_bytes_atomically(directory / ARRAYS, save({name: np.ascontiguousarray(v) for name, v in arrays.items()}))
        write_json(directory / STATE, {**self.settings._asdict(), "sources": self.sources})

    def load_state(self, directory: Path) -> None:
        arrays, state = load_file(directory / ARRAYS), read_json(directory / STATE)
        self.side, self.pair = (Scale(arrays[f"{name}_mean"], arrays[f"{name}_spread"]) for name in ("side", "pair"))
        odd, even, source, bias = (arrays[f"weight_{name}"] for name in Weights._fields)
        self.weights = Weights(odd, even, source, float(bias[0]))
        self.settings = StyleSettings(*(state[name] for name in StyleSettings._fields))
        self.sources = list(state["sources"])

    def _features(self, style: StyleArrays) -> tuple[FloatArray, FloatArray]:
        """(odd [n, 2F], even [n, 2F + 1]): differences, also saturated; absolute differences, similarity, mean levels."""
        a, b = (self.side.apply(side.astype(np.float64)) for side in (style.a, style.b))
        difference = a - b
        odd = np.concatenate([difference, np.tanh(difference)], axis=1)
        return odd, np.concatenate([self.pair.apply(_pair(style)), (a + b) / 2], axis=1)

    def _extra_design(self, extra: datasets.Dataset) -> Design:
        """Extra battles, with an offset for each source; one without a single tie is taken not to have recorded them."""
        odd, even = self._features(style_arrays(extra, progress=False))
        names, row = np.unique(np.asarray(list(extra["source"])), return_inverse=True)
        self.sources = names.tolist()
        ties = np.bincount(row, weights=verdicts_of(extra)[:, 2], minlength=len(names))
        return Design(odd, even, np.eye(len(names))[row], (ties > 0)[row])


def _pair(style: StyleArrays) -> FloatArray:
    """float64 [n, F + 1]: the pair features of `arena_data.style`."""
    return np.concatenate([np.abs(style.a - style.b), style.similarity[:, None]], axis=1).astype(np.float64)
