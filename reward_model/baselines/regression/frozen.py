"""A frozen backbone and a convex fit: what its vectors of two responses say of a verdict beside their style.

    margin        differences of the two vectors, beside the odd style features
    tie strength  how far apart the vectors lie in each dimension, |h_A − h_B|, beside the even style features

A Davidson regression (`reward_model.baselines.regression.davidson`) with three ridge penalties: style has few
features and each tells something, while vectors have hundreds that tell little, and less of ties than of margins.
Penalties, and how closely other sources are held to ours, are chosen one after another by cross-validation. No
backbone is trained, so a fit takes seconds once the texts are read; baseline.json names the backbone, which is not copied.

Source: Davidson (1970), eq. 2.3; the layout of the vectors is that of Reimers & Gurevych (2019), section 3, which has
|u − v| beside u and v.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import datasets
import numpy as np
from safetensors.numpy import load_file, save

from arena_data.file_io import json_object, read_json, write_bytes_atomically, write_json
from arena_data.splits.folds import deal_folds
from arena_data.style.features import RESPONSE_FEATURES, STYLE_VERSION, StyleArrays, style_arrays
from reward_model.baselines.base import TEXT_VERSIONS, Baseline, FloatArray, verdicts_of
from reward_model.baselines.cross_validation import choose
from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.davidson import Design, Weights
from reward_model.baselines.regression.embeddings import LIKELIHOOD, LIKELIHOODS, POOLINGS, Embedder, Float32Array
from reward_model.baselines.regression.sample import CLOSENESS, IntArray, Sample, sample_of
from reward_model.baselines.regression.style import regression_features, style_terms
from reward_model.errors import ModelError
from reward_model.model.device import named_device
from reward_model.model.style_head import Scale, StyleScale

ARRAYS, STATE = "frozen.safetensors", "state.json"
# A pooling: the mean over tokens, less each text's own mean and divided by its own spread, as a layer norm
# does. Its reward alone can be written as a stock one-label model (`reward_model.publish.frozen_export`).
NORMALIZED = "normalized"


class Read(NamedTuple):
    """What n battles are to the regression before scaling: vectors of A and of B, float64 [n, width], and their style."""

    a: FloatArray
    b: FloatArray
    style: StyleArrays


class FrozenSettings(NamedTuple):
    """Ridge penalties of style, of the vectors' differences and of their distances; closeness of other sources to ours."""

    style_penalty: float = 0.1
    margin_penalty: float = 3.0
    tie_penalty: float = 10.0
    closeness: float = 0.0


# In the order in which they are chosen, the others being held.
CANDIDATES: dict[str, tuple[float, ...]] = {
    "margin_penalty": (30.0, 10.0, 3.0, 1.0, 0.3),
    "tie_penalty": (100.0, 30.0, 10.0, 3.0, 1.0),
    "closeness": CLOSENESS,
    "style_penalty": (0.3, 0.1, 0.03, 0.01),
}


@dataclass
class Frozen(Baseline):
    """Davidson regression on a frozen backbone's vectors and on style.

    Args:
        model_name_or_path: directory or Hub id of the backbone.
        max_length: tokens of [prompt, response].
        pooling: `mean` over tokens, the same `normalized` for each text, or the `last` or the `first` of them.
        dtype: of the backbone: `auto` for what the device is quickest at, float32, bfloat16 or float16.
        layer: the hidden states after so many layers, 0 being the embeddings; -1 is the last.
        likelihood: two features more beside style, from a causal language model: how likely it finds a response.
    """

    kind: ClassVar[str] = "frozen"
    versions: ClassVar[dict[str, int]] = {"style": STYLE_VERSION, **TEXT_VERSIONS}
    takes_extra: ClassVar[bool] = True
    reads_style: ClassVar[bool] = True

    model_name_or_path: str
    max_length: int = 256
    pooling: str = "mean"
    dtype: str = "auto"
    layer: int = -1
    likelihood: bool = False

    def __post_init__(self) -> None:
        if self.pooling not in (*POOLINGS, NORMALIZED):
            raise ValueError(f"pooling is {self.pooling!r}; expected one of {', '.join((*POOLINGS, NORMALIZED))}")
        if self.layer < -1:
            raise ValueError(f"layer is {self.layer}; expected -1 for the last, or how many layers are read")
        if self.layer >= 0 and self.pooling not in ("mean", NORMALIZED):
            raise ValueError(f"pooling is {self.pooling}; a layer's states are averaged, expected --pooling mean")
        self.embedder = self._embedder(self.model_name_or_path)

    def use_backbone(self, model_name_or_path: str) -> None:
        self.embedder, old = self._embedder(model_name_or_path), self.embedder
        self.embedder.cache_dir = old.cache_dir

    def use_device(self, device: str) -> None:
        self.embedder.device = named_device(device)

    def _embedder(self, name: str) -> Embedder:
        return Embedder(name, self.max_length, self.dtype, layer=self.layer, likelihood=self.likelihood)

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        read = self.read(battles)
        self._learn_scales(read)
        sample = self._sample(battles, read, extra)
        self.sources = sample.sources
        part, _ = deal_folds(battles["group"], verdicts_of(battles))

        def held_out(settings: FrozenSettings, rows: IntArray, rest: IntArray) -> FloatArray:
            return sample.held_out_losses(rows, rest, self._penalty(settings), settings.closeness)

        settings = FrozenSettings()
        for name, values in CANDIDATES.items():
            if name != "closeness" or sample.others:
                settings, _ = choose([settings._replace(**{name: value}) for value in values], part, held_out)
        self.settings = settings
        self.weights = sample.fit(sample.ours, self._penalty(settings), settings.closeness)

    def read(self, battles: datasets.Dataset, counted: StyleArrays | None = None) -> Read:
        """Every text is read by the backbone, which takes long. Raises: ModelError for one that cannot be loaded."""
        style = counted or style_arrays(battles, progress=False)
        if not self.likelihood:
            a, b = self.embedder.sides(battles, self._told)
            return Read(self._vectors(a), self._vectors(b), style)
        a, b = self.embedder.sides(battles, LIKELIHOOD, self._told)
        # Likelihood is read as style is: few features, each of which tells something.
        style_a, style_b = np.hstack([style.a, a[:, :LIKELIHOODS]]), np.hstack([style.b, b[:, :LIKELIHOODS]])
        vectors = self._vectors(a[:, LIKELIHOODS:]), self._vectors(b[:, LIKELIHOODS:])
        return Read(*vectors, StyleArrays(style_a, style_b, style.similarity))

    @property
    def _told(self) -> str:
        return "mean" if self.pooling == NORMALIZED else self.pooling

    def _vectors(self, told: Float32Array) -> FloatArray:
        """float64 [n, width], of what the backbone tells of n texts."""
        vectors = told.astype(np.float64)
        if self.pooling != NORMALIZED:
            return vectors
        centred = vectors - vectors.mean(axis=1, keepdims=True)
        normalized: FloatArray = centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-9)
        return normalized

    def _learn_scales(self, read: Read) -> None:
        self.side, self.distance = Scale.of(np.concatenate([read.a, read.b])), Scale.of(np.abs(read.a - read.b))
        self.style_scale = StyleScale.of(read.style)

    def _sample(self, battles: datasets.Dataset, read: Read, extra: datasets.Dataset | None) -> Sample:
        more = self._extra_features(extra) if extra else None
        return sample_of(battles, self.features(read), extra, more)

    def _extra_features(self, extra: datasets.Dataset) -> tuple[FloatArray, FloatArray]:
        """Like `features`; what style is within reach is widened first."""
        read = self.read(extra)
        self.style_scale = self.style_scale.reaching(read.style)
        return self.features(read)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        return self.log_probabilities_with(battles, style_arrays(battles, progress=False))

    def log_probabilities_with(self, battles: datasets.Dataset, style: StyleArrays) -> FloatArray:
        features = self.features(self.read(battles, style))
        return davidson.log_probabilities(Design.plain(*features, len(self.sources)), self.weights)

    def rewards(self, battles: datasets.Dataset) -> FloatArray:
        """float64 [n]: how much the vector of each battle's A adds to its margin; style and likelihood are left out."""
        vectors, _ = self.embedder.sides(battles, self._told)
        rewards: FloatArray = self.side.apply(self._vectors(vectors)) @ self.weights.odd[-vectors.shape[1] :]
        return rewards

    def features(self, read: Read) -> tuple[FloatArray, FloatArray]:
        """(odd [n, P], even [n, Q]): those of style first, then those of the vectors, as many as they are wide.

        Raises: ModelError for a backbone of another width than that of training.
        """
        a, b = read.a, read.b
        if a.shape[1] != len(self.side.mean):
            raise ModelError(
                f"{self.embedder.name}: its states have {a.shape[1]} dimensions, those of training "
                f"{len(self.side.mean)}; name the backbone of training with --base_model"
            )
        odd, even = regression_features(self.style_scale, read.style)
        distance = self.distance.apply(np.abs(a - b))
        odd = np.concatenate([odd, self.side.apply(a) - self.side.apply(b)], axis=1)
        return odd, np.concatenate([even, distance], axis=1)

    def style_terms(self, style: StyleArrays) -> FloatArray:
        return style_terms(self.style_scale, style, self.weights.odd)

    def _penalty(self, settings: FrozenSettings) -> FloatArray:
        """float64 [P + Q]."""
        width, side, pair = (len(scale.mean) for scale in (self.side, self.style_scale.side, self.style_scale.pair))
        style, margin, tie = settings.style_penalty, settings.margin_penalty, settings.tie_penalty
        return np.repeat([style, margin, style, tie], [2 * side, width, pair + side, width])

    def save_state(self, directory: Path) -> None:
        arrays = {**self.style_scale.arrays(), **self.side.arrays("vector"), **self.distance.arrays("distance")}
        arrays |= self.weights.arrays()
        write_bytes_atomically(directory / ARRAYS, save({name: np.ascontiguousarray(v) for name, v in arrays.items()}))
        write_json(directory / STATE, {**self.settings._asdict(), "sources": self.sources})

    def load_state(self, directory: Path) -> None:
        arrays, state = load_file(directory / ARRAYS), read_json(directory / STATE, json_object)
        self.style_scale, self.weights = StyleScale.from_arrays(arrays), Weights.from_arrays(arrays)
        self.side, self.distance = (Scale.from_arrays(arrays, name) for name in ("vector", "distance"))
        self.settings = FrozenSettings(**{name: state[name] for name in FrozenSettings._fields if name in state})
        self.sources = list(state["sources"])
        self._check_shapes()

    def _check_shapes(self) -> None:
        """Raises: ValueError for arrays that do not fit together, or are not finite."""
        features = len(RESPONSE_FEATURES) + (LIKELIHOODS if self.likelihood else 0)
        sides, vectors = np.zeros((1, features), np.float32), np.zeros((1, len(self.side.mean)))
        read = Read(vectors, vectors, StyleArrays(sides, sides, sides[:, 0]))
        design = Design.plain(*self.features(read), len(self.sources))
        if not np.isfinite(davidson.log_probabilities(design, self.weights)).all():
            raise ValueError("its weights are not finite")
