"""The bootstrap, clustered by prompt, and with it intervals for means, shares and slopes.

Battles about one prompt err together, so whole prompts are drawn, with replacement, as many as there are. What
`Resampling` gives is a ratio of two sums over battles (a mean is a sum over a count, a slope through the origin is
Σxy / Σx²), so a draw needs only each prompt's sums, and thousands of draws over 57,000 battles take a second. Other
statistics (`reward_model.evaluation.metrics`, weights of blends) are reckoned anew from each of the same draws.

Source: Field & Welsh (2007), "Bootstrapping clustered data", JRSS B 69; percentile intervals.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percent
Estimate = dict[str, Any]  # value, low, high: float or None; battles: int


def draws(prompts: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """How often each prompt is drawn, int64 [prompts], once a resample."""
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(random.integers(prompts, size=prompts), minlength=prompts)


class Resampling:
    """Draws of the prompts of n battles, the same draws for every figure, so that figures can be compared.

    Args:
        groups: [n], equal for battles of one prompt.
        resamples: number of draws.
        seed: of the draws.
    """

    def __init__(self, groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0):
        names, self._group_of_row = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        self.battles = len(self._group_of_row)
        # More than 255 times out of n draws does not happen.
        self._drawn = np.zeros((resamples if len(names) else 0, len(names)), dtype=np.uint8)
        for row, resampling in enumerate(draws(len(names), len(self._drawn), seed)):
            self._drawn[row] = resampling

    def _drawn_sums(self, columns: np.ndarray) -> np.ndarray:
        """float64 [resamples, k]: the sums over the battles of each draw. columns: float [n, k]."""
        groups = self._drawn.shape[1]
        by_group = np.stack([np.bincount(self._group_of_row, column, groups) for column in columns.T], axis=1)
        # Most figures are about few of the prompts.
        touched = np.flatnonzero(by_group.any(axis=1))
        by_group = by_group[touched]
        parts = [
            self._drawn[at : at + 64, touched].astype(np.float64) @ by_group for at in range(0, len(self._drawn), 64)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, columns.shape[1]))

    def ratio(self, numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Estimate:
        """Σ numerator / Σ denominator over battles with its 95 % interval; None where the denominator is 0.

        Args:
            numerator, denominator: float [n]; a battle that does not count has 0 in both.
        """
        top = np.broadcast_to(np.asarray(numerator, np.float64), self.battles)
        bottom = np.broadcast_to(np.asarray(denominator, np.float64), self.battles)
        counted = int(np.count_nonzero(bottom))
        if not counted or bottom.sum() <= 0:
            return {"value": None, "low": None, "high": None, "battles": 0}
        sums = self._drawn_sums(np.stack([top, bottom], axis=1))
        resampling = sums[sums[:, 1] > 0]
        low, high = (
            np.percentile(resampling[:, 0] / resampling[:, 1], INTERVAL) if len(resampling) else (np.nan, np.nan)
        )
        # One prompt says nothing about the spread between prompts.
        few = len(np.unique(self._group_of_row[bottom != 0])) < 2
        value = float(top.sum() / bottom.sum())
        return {
            "value": value,
            "low": None if few else float(low),
            "high": None if few else float(high),
            "battles": counted,
        }

    def mean(self, values: npt.ArrayLike, inside: np.ndarray | None = None) -> Estimate:
        """The mean of values float [n] over the battles of the mask `inside` (all if None)."""
        counts = np.ones(self.battles) if inside is None else inside.astype(np.float64)
        return self.ratio(np.where(counts > 0, np.asarray(values, np.float64), 0.0), counts)

    def slope(self, values: npt.ArrayLike, predictor: np.ndarray) -> Estimate:
        """The least-squares slope, through the origin, of values float [n] on the predictor float [n]."""
        return self.ratio(np.asarray(values, np.float64) * predictor, predictor**2)
