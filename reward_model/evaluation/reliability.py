"""Whether probabilities mean what they say: reliability curves and debiased calibration errors.

Rows are put into bins of equal counts by what was predicted; a curve holds, bin by bin, what was predicted and what
came. The calibration error is the root of the mean squared gap between the two. Plugged in, that gap counts the noise of
a bin as an error: each squared gap is therefore lessened by its own sampling variance, which makes it unbiased, so a
calibrated model's squared error is 0 on average and may come out below (its root then counts as 0).

    error^2 = sum_b (n_b / n) (gap_b^2 - s_b^2 / n_b),     gap_b, s_b^2: mean and variance of outcome - predicted in bin b

Source: Kumar, Liang & Ma (2019), "Verified Uncertainty Calibration", section 5 (the debiased estimator; here with the
variance of the gap itself, which also holds for soft outcomes); Nguyen & O'Connor (2015) for bins of equal counts;
Kull et al. (2019), "Beyond temperature scaling", section 2, for top-label and class-wise calibration.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reward_model.evaluation.probabilities import FloatArray, IntArray

BINS = 15
CLASSES = ("a", "b", "tie")

# A statistic of rows that count as often as the weights say, float64 [n].
Statistic = Callable[[FloatArray], float]


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a curve: mean prediction, mean outcome and the number of battles in the bin."""

    predicted: float
    observed: float
    battles: int


def equal_bins(predicted: FloatArray, bins: int = BINS) -> IntArray:
    """int64 [n]: bins of about equal counts, numbered from 0; equal predictions share a bin, so there may be fewer."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, predicted, side="left"), return_inverse=True)[1].astype(np.int64)


def reliability_curve(predicted: FloatArray, outcome: FloatArray, bins: int = BINS) -> list[ReliabilityBin]:
    """The curve of one class, by rising prediction.

    Args:
        predicted: float64 [n], probabilities.
        outcome: float64 [n], 0, 1 or a share.
        bins: the most there may be.
    """
    bin_of_row = equal_bins(predicted, bins)
    battles = np.bincount(bin_of_row)
    means = [np.bincount(bin_of_row, weights=values) / battles for values in (predicted, outcome)]
    return [ReliabilityBin(float(p), float(o), int(n)) for p, o, n in zip(*means, battles, strict=True)]


def squared_error(predicted: FloatArray, outcome: FloatArray, bins: int = BINS, debias: bool = True) -> Statistic:
    """The squared calibration error as a statistic of row weights; below 0 where noise alone explains more than is seen.

    Args:
        predicted, outcome: as for `reliability_curve`.
        bins: the most there may be.
        debias: take the bins' own noise off. A bin of one row has none that could be known, and is then left out.
    """
    bin_of_row = equal_bins(predicted, bins)
    gap = outcome - predicted

    def statistic(weights: FloatArray) -> float:
        counts = np.bincount(bin_of_row, weights=weights)
        mean = np.bincount(bin_of_row, weights=weights * gap) / np.maximum(counts, 1e-300)
        square = mean**2
        if debias:
            spread = np.bincount(bin_of_row, weights=weights * (gap - mean[bin_of_row]) ** 2)
            known = counts > 1
            square = np.where(known, square - spread / np.maximum(counts - 1, 1e-300) / np.maximum(counts, 1e-300), 0.0)
            counts = np.where(known, counts, 0.0)
        total = counts.sum()
        return float(counts @ square / total) if total > 0 else float("nan")

    return statistic


def top_label_squared_error(
    probabilities: FloatArray, verdicts: FloatArray, bins: int = BINS, debias: bool = True
) -> Statistic:
    """Of the probability of the likeliest verdict against how often it came."""
    top = probabilities.argmax(axis=1)
    rows = np.arange(len(top))
    return squared_error(probabilities[rows, top], verdicts[rows, top], bins, debias)


def classwise_squared_error(
    probabilities: FloatArray, verdicts: FloatArray, bins: int = BINS, debias: bool = True
) -> Statistic:
    """The mean over A, B and tie of each one's squared error."""
    each = [squared_error(probabilities[:, c], verdicts[:, c], bins, debias) for c in range(len(CLASSES))]
    return lambda weights: float(np.mean([statistic(weights) for statistic in each]))
