"""The style head: what can be counted without reading moves the margin and the tie strength.

    d += a · (s_A - s_B)        tau += b · |s_A - s_B| + c · similarity(A, B)

Features are standardised by their mean and spread in the training split, and what the weights are multiplied by stays
within its range there (`Reach`). A linear model would else be surest where it has seen nothing: a long answer beside an
empty one. The head is a door: without it the reward is what length and formatting do not explain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


class Reach(NamedTuple):
    """How far standardised features went in training, float32.

    difference: [F], the largest absolute difference of A and B; pair_low, pair_high: [F + 1], of the pair features;
    level_low, level_high: [F], of the mean of A and B.
    """

    difference: np.ndarray
    pair_low: np.ndarray
    pair_high: np.ndarray
    level_low: np.ndarray
    level_high: np.ndarray

    @staticmethod
    def of(a: np.ndarray, b: np.ndarray, pair: np.ndarray) -> "Reach":
        """Of standardised features: a, b [n, F], pair [n, F + 1]; n is at least 1."""
        level = (a + b) / 2
        ends = (np.abs(a - b).max(0), pair.min(0), pair.max(0), level.min(0), level.max(0))
        # Rounded outwards, so that what was seen keeps its last bit.
        outwards = (np.inf, -np.inf, np.inf, -np.inf, np.inf)
        return Reach(
            *(np.nextafter(end.astype(np.float32), np.float32(way)) for end, way in zip(ends, outwards, strict=True))
        )

    @staticmethod
    def endless(features: int) -> "Reach":
        """Holds nothing: what files of older versions stand for."""
        sizes = (features, features + 1, features + 1, features, features)
        signs = (1, -1, 1, -1, 1)
        return Reach(*(np.full(n, sign * np.inf, np.float32) for n, sign in zip(sizes, signs, strict=True)))


class StyleScale(NamedTuple):
    """Scales of the F response features and of the F + 1 pair features; what weights of style refer to."""

    side: Scale
    pair: Scale
    reach: Reach

    @staticmethod
    def of(style: StyleArrays) -> "StyleScale":
        side, pair = Scale.of(np.concatenate([style.a, style.b])), Scale.of(style.pair)
        a, b = (side.apply(values).astype(np.float64) for values in (style.a, style.b))
        return StyleScale(side, pair, Reach.of(a, b, pair.apply(style.pair)))

    def reaching(self, style: StyleArrays) -> "StyleScale":
        """The same scales; battles of other sources, which are learned from too, are within reach."""
        a, b = (self.side.apply(values).astype(np.float64) for values in (style.a, style.b))
        more, now = Reach.of(a, b, self.pair.apply(style.pair)), self.reach
        wider = (np.maximum, np.minimum, np.maximum, np.minimum, np.maximum)
        return self._replace(reach=Reach(*(widest(*ends) for widest, *ends in zip(wider, now, more, strict=True))))

    def sides(self, style: StyleArrays) -> tuple[np.ndarray, np.ndarray]:
        """float64 [n, F] of A and of B, standardised; each difference is within reach, and the middle is where it was."""
        a, b = (self.side.apply(values).astype(np.float64) for values in (style.a, style.b))
        difference, middle = a - b, (a + b) / 2
        held = np.clip(difference, -self.reach.difference, self.reach.difference)
        # What is within reach keeps its last bit.
        beyond = held != difference
        return np.where(beyond, middle + held / 2, a), np.where(beyond, middle - held / 2, b)

    def pairs(self, style: StyleArrays) -> np.ndarray:
        """float32 [n, F + 1]: absolute differences and similarity, standardised, within reach."""
        return np.clip(self.pair.apply(style.pair), self.reach.pair_low, self.reach.pair_high)

    def levels(self, style: StyleArrays) -> np.ndarray:
        """float64 [n, F]: the mean of A and B, standardised, within reach."""
        a, b = (self.side.apply(values).astype(np.float64) for values in (style.a, style.b))
        return np.clip((a + b) / 2, self.reach.level_low, self.reach.level_high)

    def arrays(self) -> dict[str, np.ndarray]:
        """By names for a file; `from_arrays` is the inverse."""
        reach = {f"reach_{name}": values for name, values in self.reach._asdict().items()}
        return {**self.side.arrays("side"), **self.pair.arrays("pair"), **reach}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> "StyleScale":
        """Files of older versions have no reach; nothing is held there."""
        side, pair = Scale.from_arrays(arrays, "side"), Scale.from_arrays(arrays, "pair")
        endless = Reach.endless(len(side.mean))._asdict()
        reach = Reach(*(arrays.get(f"reach_{name}", endless[name]) for name in Reach._fields))
        return StyleScale(side, pair, reach)


STYLE_WEIGHTS = ("style_reward", "style_tie", "style_similarity")
STYLE_ARRAYS = (*STYLE_WEIGHTS, "side_mean", "side_scale", "pair_mean", "pair_scale")
# Not in files of older versions.
REACH_ARRAYS = ("difference_reach", "pair_low", "pair_high")
FloatArray = npt.NDArray[np.float32]


def _no_end() -> FloatArray:
    return np.full((), np.inf, dtype=np.float32)


def _no_beginning() -> FloatArray:
    return -_no_end()


@dataclass(frozen=True)
class StyleHead:
    """What style adds to margin and tie strength, and how features are standardised: (feature - mean) / scale.

    Args:
        features: names of the F response features.
        style_reward, style_tie: float32 [F], a and b.
        style_similarity: float32 [1], c.
        side_mean, side_scale: float32 [F], of response features.
        pair_mean, pair_scale: float32 [F + 1], of the F absolute differences and the similarity.
        difference_reach: float32 [F], pair_low, pair_high: float32 [F + 1], of `Reach`; infinite where nothing is held.

    Raises: ValueError for a wrong shape, a value that is not finite, a scale that is not positive, an empty range.
    """

    features: tuple[str, ...]
    style_reward: FloatArray
    style_tie: FloatArray
    style_similarity: FloatArray
    side_mean: FloatArray
    side_scale: FloatArray
    pair_mean: FloatArray
    pair_scale: FloatArray
    difference_reach: FloatArray = field(default_factory=_no_end)
    pair_low: FloatArray = field(default_factory=_no_beginning)
    pair_high: FloatArray = field(default_factory=_no_end)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        count = len(self.features)
        sizes = {"style_similarity": 1} | dict.fromkeys(("pair_mean", "pair_scale", "pair_low", "pair_high"), count + 1)
        for name in (*STYLE_ARRAYS, *REACH_ARRAYS):
            given, size = getattr(self, name), sizes.get(name, count)
            if name in REACH_ARRAYS and np.shape(given) == ():
                given = np.full(size, given)
            if np.shape(given) != (size,):
                raise ValueError(f"{name} has shape {np.shape(given)}; expected ({size},)")
            array = np.ascontiguousarray(given, dtype=np.float32)
            known = ~np.isnan(array) if name in REACH_ARRAYS else np.isfinite(array)
            if not known.all() or (name.endswith("scale") and not (array > 0).all()):
                raise ValueError(f"{name} has values that are not finite, or scales that are not above 0")
            object.__setattr__(self, name, array)
        if not ((self.difference_reach >= 0).all() and (self.pair_low <= self.pair_high).all()):
            raise ValueError("difference_reach has values below 0, or pair_low has values above pair_high")

    @classmethod
    def of(cls, features: tuple[str, ...], weights: Mapping[str, FloatArray], scale: StyleScale) -> "StyleHead":
        """A head that standardises its features as `scale` does; the property of that name is the inverse.

        Args:
            weights: those of `STYLE_WEIGHTS`, by name; others are passed over.
        """
        return cls(
            features=features,
            **{name: weights[name] for name in STYLE_WEIGHTS},
            side_mean=scale.side.mean,
            side_scale=scale.side.spread,
            pair_mean=scale.pair.mean,
            pair_scale=scale.pair.spread,
            difference_reach=scale.reach.difference,
            pair_low=scale.reach.pair_low,
            pair_high=scale.reach.pair_high,
        )

    @property
    def scale(self) -> StyleScale:
        levels = Reach.endless(len(self.features))
        reach = levels._replace(difference=self.difference_reach, pair_low=self.pair_low, pair_high=self.pair_high)
        return StyleScale(Scale(self.side_mean, self.side_scale), Scale(self.pair_mean, self.pair_scale), reach)

    @property
    def tie_weights(self) -> FloatArray:
        """float32 [F + 1]: b and c, of the pair features."""
        return np.concatenate([self.style_tie, self.style_similarity])
