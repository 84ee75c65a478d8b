"""The style head: what can be counted without reading moves the margin and the tie strength.

    d += a · (s_A - s_B)        tau += b · |s_A - s_B| + c · similarity(A, B)

Features are standardised by their mean and spread in the training split. The head is a door: without it the reward is what
length and formatting do not explain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from arena_data.style.features import StyleArrays

# Standard deviations: what lies further out is an outlier, which a linear model must not follow.
LIMIT = 8.0


class Scale(NamedTuple):
    """Mean [F] and spread [F] of features in training."""

    mean: np.ndarray
    spread: np.ndarray

    @staticmethod
    def of(features: np.ndarray) -> "Scale":
        """float32 [F] each, of features [n, F]."""
        spread = features.std(axis=0, dtype=np.float64)
        # A feature that never varied says nothing: so wide a spread that it stays at 0.
        spread = np.where(spread > 1e-6, spread, 1e6)
        return Scale(features.mean(axis=0, dtype=np.float64).astype(np.float32), spread.astype(np.float32))

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Standard deviations from the mean, of the same shape, within `LIMIT`."""
        return np.clip((features - self.mean) / self.spread, -LIMIT, LIMIT)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """By names for a file; `from_arrays` is the inverse."""
        return {f"{name}_{field}": values for field, values in self._asdict().items()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray], name: str) -> "Scale":
        return Scale(*(arrays[f"{name}_{field}"] for field in Scale._fields))


class StyleScale(NamedTuple):
    """Scales of the F response features and of the F + 1 pair features; what weights of style refer to."""

    side: Scale
    pair: Scale

    @staticmethod
    def of(style: StyleArrays) -> "StyleScale":
        return StyleScale(Scale.of(np.concatenate([style.a, style.b])), Scale.of(style.pair))

    def arrays(self) -> dict[str, np.ndarray]:
        """By names for a file; `from_arrays` is the inverse."""
        return {**self.side.arrays("side"), **self.pair.arrays("pair")}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> "StyleScale":
        return StyleScale(Scale.from_arrays(arrays, "side"), Scale.from_arrays(arrays, "pair"))


STYLE_ARRAYS = ("style_reward", "style_tie", "style_similarity", "side_mean", "side_scale", "pair_mean", "pair_scale")
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StyleHead:
    """What style adds to margin and tie strength, and how features are standardised: (feature - mean) / scale.

    Args:
        features: names of the F response features.
        style_reward, style_tie: float32 [F], a and b.
        style_similarity: float32 [1], c.
        side_mean, side_scale: float32 [F], of response features.
        pair_mean, pair_scale: float32 [F + 1], of the F absolute differences and the similarity.

    Raises: ValueError for a wrong shape, a value that is not finite, a scale that is not positive.
    """

    features: tuple[str, ...]
    style_reward: FloatArray
    style_tie: FloatArray
    style_similarity: FloatArray
    side_mean: FloatArray
    side_scale: FloatArray
    pair_mean: FloatArray
    pair_scale: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        count = len(self.features)
        sizes = {"style_similarity": 1, "pair_mean": count + 1, "pair_scale": count + 1}
        for name in STYLE_ARRAYS:
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if np.shape(getattr(self, name)) != (sizes.get(name, count),):
                raise ValueError(
                    f"{name} has shape {np.shape(getattr(self, name))}; expected ({sizes.get(name, count)},)"
                )
            if not np.isfinite(array).all() or (name.endswith("scale") and not (array > 0).all()):
                raise ValueError(f"{name} has values that are not finite, or scales that are not above 0")
            object.__setattr__(self, name, array)

    @property
    def scale(self) -> StyleScale:
        return StyleScale(Scale(self.side_mean, self.side_scale), Scale(self.pair_mean, self.pair_scale))

    @property
    def tie_weights(self) -> FloatArray:
        """float32 [F + 1]: b and c, of the pair features."""
        return np.concatenate([self.style_tie, self.style_similarity])
