"""What is asked of each of the models that make a prediction, and what it answers."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.style.features import StyleArrays, style_arrays
from reward_model.predict.deadline import Deadline
from reward_model.predict.processes import Team

if TYPE_CHECKING:
    from reward_model.model.margins import BattleScores
    from reward_model.run_directory.load_model import LoadOptions

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """Battles to predict, and how.

    Args:
        battles: columns of `arena_data.schema.FEATURES`.
        team: this process and the others.
        folder: where finished shards are kept; nowhere if None.
        deadline: when to be done.
        progress: whether to show bars.
        others_follow: whether other models need the device after this one.
        keeps_models: whether the device holds all models at once, for jobs that follow one another.
        counted: what `style` has counted, shared by the parts of a job.
        check: called before each batch of the model, if given; what it raises ends the job.
    """

    battles: datasets.Dataset
    team: Team = field(default_factory=Team)
    folder: Path | None = None
    deadline: Deadline = field(default_factory=lambda: Deadline(None))
    progress: bool = False
    others_follow: bool = False
    keeps_models: bool = False
    counted: list[StyleArrays] = field(default_factory=list)
    check: Callable[[], None] | None = None

    @property
    def style(self) -> StyleArrays:
        """Style features of the battles, counted once for all members."""
        if not self.counted:
            shown = self.progress and self.team.is_main and len(self.battles) > 2000
            self.counted.append(style_arrays(self.battles, progress=shown))
        return self.counted[0]

    def for_next_member(self, members: int) -> "Job":
        """The job of the first of so many members that are still to come: its share of the time."""
        follow = not self.keeps_models and (self.others_follow or members > 1)
        return dataclasses.replace(self, deadline=self.deadline.share(members), others_follow=follow)


@dataclass(frozen=True)
class MemberPrediction:
    """What one member says of n battles.

    log_probs: float64 [n, 3], calibrated if asked. failed: bool [n], battles given the prior. shortened: bool [n], read at
    a shorter max_length for want of time. truncated: bool [n], battles of which a text was cut; None where the member
    cuts no texts. scores: rewards and tie strengths, where the member has them.
    """

    log_probs: FloatArray
    failed: npt.NDArray[np.bool_]
    shortened: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_] | None = None
    scores: "BattleScores | None" = None

    @staticmethod
    def whole(log_probs: FloatArray) -> "MemberPrediction":
        nothing = np.zeros(len(log_probs), dtype=bool)
        return MemberPrediction(log_probs, nothing, nothing)


def any_truncated(predictions: Sequence[MemberPrediction]) -> npt.NDArray[np.bool_] | None:
    """bool [n]: battles of which any member cut a text; None where no member cuts texts."""
    truncated = [prediction.truncated for prediction in predictions if prediction.truncated is not None]
    return np.logical_or.reduce(truncated) if truncated else None


class Member(Protocol):
    """One of the models that make a prediction."""

    name: str

    @property
    def first_error(self) -> str | None:
        """What the first row failed on that could not be scored."""
        ...

    def predict(self, job: Job) -> MemberPrediction:
        """The battles' probabilities."""
        ...

    def work(self, job: Job) -> None:
        """Does this process's share for the main one to pick up."""
        ...


@dataclass(frozen=True)
class MemberOptions:
    """How a member is loaded and read.

    max_length: tokens; None for that of training. swap_average: the share of battles whose responses are read in both
    orders, those with the smallest margins; 0 for none, 1 for all.
    """

    load: "LoadOptions"
    batch_tokens: int | None = None
    max_length: int | None = None
    swap_average: float = 0.0
    style: bool = True
    calibrated: bool = True

    def on(self, device: str | None) -> "MemberOptions":
        """The same on another device; None changes nothing."""
        return self if device is None else dataclasses.replace(self, load=dataclasses.replace(self.load, device=device))
