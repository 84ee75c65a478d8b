"""What predictions are worth where the verdicts are known: log loss, accuracy, Brier score, calibration error."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass(frozen=True)
class Quality:
    """Of n labelled battles.

    log_loss: mean cross-entropy in nats. accuracy: share whose likeliest verdict is the most voted one. brier_score: mean
    squared distance of the three probabilities from the verdict, 0 to 2. calibration_error: see `calibration_error`.
    """

    battles: int
    log_loss: float
    accuracy: float
    brier_score: float
    calibration_error: float

    def __str__(self) -> str:
        return (
            f"{self.battles:,} labelled battles: log loss {self.log_loss:.4f}, accuracy {self.accuracy:.3f}, "
            f"Brier score {self.brier_score:.4f}, calibration error {self.calibration_error:.4f}"
        )

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def quality(log_probs: npt.ArrayLike, verdicts: npt.ArrayLike) -> Quality:
    """Of log-probabilities float [n, 3] against verdicts float [n, 3]; n at least 1."""
    predicted = np.asarray(log_probs, dtype=np.float64)
    seen = np.asarray(verdicts, dtype=np.float64)
    probabilities = np.exp(predicted)
    # Where a verdict has no share, a log-probability of -inf costs nothing.
    costs = np.where(seen > 0, seen * predicted, 0.0)
    return Quality(
        battles=len(seen),
        log_loss=float(-costs.sum(axis=1).mean()),
        accuracy=float((predicted.argmax(axis=1) == seen.argmax(axis=1)).mean()),
        brier_score=float(((probabilities - seen) ** 2).sum(axis=1).mean()),
        calibration_error=calibration_error(probabilities, seen),
    )


def calibration_error(probabilities: npt.NDArray[np.float64], verdicts: npt.NDArray[np.float64]) -> float:
    """Expected calibration error, class by class, 0 to 1: how far mean prediction and share seen are apart in a bin.

    All 3 n probabilities in bins of equal width, weighted by their number. Source: Kull et al. (2019), "Beyond temperature
    scaling", section 2, classwise-ECE with the classes' bins averaged.
    """
    errors = []
    for column in range(probabilities.shape[1]):
        predicted, seen = probabilities[:, column], verdicts[:, column]
        bins = np.minimum((predicted * BINS).astype(int), BINS - 1)
        gaps = np.abs(np.bincount(bins, predicted - seen, BINS))
        errors.append(gaps.sum() / len(predicted))
    return float(np.mean(errors))
