"""A prediction as plain data: what each of its processes is told, and how it begins from that."""

import sys
from dataclasses import dataclass
from pathlib import Path

import datasets
import psutil

from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.loading import load_battles
from reward_model.errors import one_line
from reward_model.predict.deadline import Deadline
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import check_options, check_swap_average, open_member
from reward_model.predict.predictor import Predictor
from reward_model.predict.processes import Team, device_of, end_with_parent, share_cores
from reward_model.predict.shard_store import WorkRemoved, make_work_folder, remove_work


@dataclass(frozen=True)
class PredictionTask:
    """What to predict, and with what.

    Args:
        inputs: sources of battles, as `arena_data.loading.load_battles` takes them.
        output: the submission, beside which finished shards are kept.
        models: path and options of each member.
        weights: of the members; equal if None.
        pooling: `logarithmic` or `linear`.
        device: such as `cpu`; None for all GPUs, or the first accelerator.
        seconds: the time limit, from `started` on the monotonic clock; None for no limit.
        started: seconds on the monotonic clock.
        progress: whether the main process shows bars.
        limits: sizes beyond which a file of battles is refused.
    """

    inputs: list[str]
    output: Path
    models: list[tuple[str, MemberOptions]]
    weights: list[float] | None = None
    pooling: str = "logarithmic"
    device: str | None = None
    seconds: float | None = None
    started: float | None = None
    progress: bool = False
    limits: Limits = LIMITS

    def open(self, device: str | None = None) -> Predictor:
        """Reads what the members' settings say; loads no model.

        Args:
            device: where this process computes.

        Raises: InputError or ModelError, one line, for what is not there or does not go together.
        """
        members = [open_member(path, options.on(device or self.device)) for path, options in self.models]
        if any(options.swap_average for _, options in self.models):
            check_swap_average(members)
        check_options(members, [options for _, options in self.models])
        return Predictor(members, self.weights, self.pooling)

    def begin(self, battles: datasets.Dataset, team: Team) -> tuple[Predictor, Job]:
        """The members, and the job of this process of the team. Raises: as `open`, and InputError for a full disk."""
        device = device_of(team, self.device)
        share_cores(team, device)
        predictor = self.open(device)
        folder = make_work_folder(self.output)
        return predictor, Job(battles, team, folder, Deadline(self.seconds, self.started), self.progress)


def help_out(team: Team, task: PredictionTask) -> None:
    """What a process does that the main one has started: its share of the shards, nothing else."""
    end_with_parent()
    try:
        work(team, task)
    except InputError:
        pass  # the main process finds the same, and says so
    except (ValueError, OSError) as error:
        # The main process does what this one leaves.
        print(f"process {team.rank}: {one_line(error)}", file=sys.stderr)


def work(team: Team, task: PredictionTask) -> None:
    """This process's share of the shards. Ends early where the main process has written the submission meanwhile."""
    if _is_done(team, task):
        return
    battles = load_battles(task.inputs, labels="optional", limits=task.limits)
    predictor, job = task.begin(battles, team)
    try:
        predictor.work(job)
    except WorkRemoved:
        return
    finally:
        if _is_done(team, task):  # it was done before this process made its folder
            remove_work(task.output)


def _is_done(team: Team, task: PredictionTask) -> bool:
    """Whether the first process of this launch has written the submission, of which a launcher's others learn no more."""
    try:
        return team.launched and task.output.stat().st_mtime > psutil.Process().parent().create_time()
    except (OSError, AttributeError, psutil.Error):
        return False
