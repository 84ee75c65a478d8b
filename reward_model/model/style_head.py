"""The style head: what can be counted without reading moves the margin and the tie strength.

    d += a · (s_A - s_B)        tau += b · |s_A - s_B| + c · similarity(A, B)

Features are standardised by their mean and spread in the training split. The head is a door: without it the reward is what
length and formatting do not explain.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from arena_data.style.features import StyleArrays, pair_array


@dataclass(frozen=True)
class StyleScale:
    """Mean and spread of the style features in the training split; what the style head's weights refer to.

    side_mean, side_scale: float32 [F]; pair_mean, pair_scale: float32 [F + 1].
    """

    side_mean: np.ndarray
    side_scale: np.ndarray
    pair_mean: np.ndarray
    pair_scale: np.ndarray

    @staticmethod
    def of(style: StyleArrays) -> "StyleScale":
        sides, pair = np.concatenate([style.a, style.b]), pair_array(style)
        # A feature that never varied in training says nothing: so wide a scale that it stays at 0.
        scales = [np.where(x.std(axis=0) > 1e-6, x.std(axis=0), 1e6).astype(np.float32) for x in (sides, pair)]
        return StyleScale(sides.mean(axis=0), scales[0], pair.mean(axis=0), scales[1])

    def sides(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.side_mean) / self.side_scale, -8, 8).astype(np.float32)

    def pairs(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.pair_mean) / self.pair_scale, -8, 8).astype(np.float32)


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
