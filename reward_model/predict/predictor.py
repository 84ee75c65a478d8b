"""Battles in, calibrated log-probabilities out: members opened once, their predictions pooled.

predictor = Predictor([open_member(path, options) for path in paths])
log_probs = predictor.predict(battles)         # float64 [n, 3]: log P(A), log P(B), log P(tie)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import numpy.typing as npt

from reward_model.calibration.blending import check_weights, pool
from reward_model.predict.member import FloatArray, Job, Member, MemberPrediction, any_truncated


@dataclass(frozen=True)
class Prediction:
    """Of n battles: log_probs float64 [n, 3], and what each member said, in the order of the members."""

    log_probs: FloatArray
    members: list[MemberPrediction]

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """bool [n]: battles for which a member gave its prior."""
        return np.logical_or.reduce([member.failed for member in self.members])

    @property
    def truncated(self) -> npt.NDArray[np.bool_] | None:
        """bool [n]: battles of which a member cut a text; None where no member cuts texts."""
        return any_truncated(self.members)

    @property
    def shortened(self) -> npt.NDArray[np.bool_]:
        """bool [n]: battles of which a text was read at a shorter max_length for want of time."""
        return np.logical_or.reduce([member.shortened for member in self.members])


class Predictor:
    """Members and their weights.

    Args:
        members: at least one.
        weights: float [members], at least 0, not all 0; equal if None.
        pooling: `logarithmic` or `linear`.

    Raises: ValueError for weights that do not fit the members.
    """

    def __init__(self, members: Sequence[Member], weights: Sequence[float] | None = None, pooling: str = "logarithmic"):
        self.members, self.pooling = list(members), pooling
        given = [1.0] * len(self.members) if weights is None else list(weights)
        self.weights = check_weights(given, len(self.members))

    def predict(self, battles: datasets.Dataset) -> FloatArray:
        """float64 [n, 3]: log P(A), log P(B), log P(tie) of each battle, in order."""
        return self.run(Job(battles)).log_probs

    def run(self, job: Job) -> Prediction:
        """The same for a job, with what the members said."""
        predictions = []
        for place, member in enumerate(self.members):
            predictions.append(member.predict(job.for_next_member(len(self.members) - place)))
        log_probs = [prediction.log_probs for prediction in predictions]
        return Prediction(pool(log_probs, self.weights, self.pooling), predictions)

    def work(self, job: Job) -> None:
        """Does this process's share of a job whose main process is another."""
        for place, member in enumerate(self.members):
            member.work(job.for_next_member(len(self.members) - place))
