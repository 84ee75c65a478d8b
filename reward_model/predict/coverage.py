"""Where the thresholds of verdict sets come from: what calibration kept with a model, or labelled battles of one's own."""

from collections.abc import Sequence

import datasets
import numpy as np

from arena_data.errors import InputError
from reward_model.calibration.verdict_sets import BoolArray, measure_sets, set_thresholds
from reward_model.evaluation.probabilities import FloatArray
from reward_model.predict.member import Job, Member
from reward_model.predict.open_member import BaselineMember, BlendMember
from reward_model.predict.predictor import Predictor
from reward_model.predict.run_member import RunMember


def stored_thresholds(members: Sequence[Member]) -> dict[str, float]:
    """What the calibration of the one member has kept, by percent of coverage.

    Raises: InputError, one line, for several members, one without a calibration (a file, a stock model), or a calibration
        without thresholds.
    """
    remedy = "name labelled battles that no model has seen in --coverage_labels"
    if len(members) != 1:
        raise InputError(
            "--coverage of several models has no calibration of the whole",
            found=[member.name for member in members],
            fix=f"make one of them by arena-reward blend, or {remedy}",
        )
    member = members[0]
    if isinstance(member, RunMember):
        kept, command, folder = member.run.calibration, "calibrate", str(member.run.directory)
    elif isinstance(member, BaselineMember):
        kept, command, folder = member.stored.calibration, "calibrate", member.name
    elif isinstance(member, BlendMember):
        kept, command, folder = member.blend.calibration, "blend", member.name
    else:
        raise InputError("keeps no thresholds for --coverage", file=member.name, fix=remedy)
    if not kept.set_thresholds:
        raise InputError(
            "its calibration has no thresholds for --coverage",
            file=folder,
            fix=f"fit it anew by arena-reward {command}, or {remedy}",
        )
    return kept.set_thresholds


def fitted_thresholds(predictor: Predictor, job: Job, battles: datasets.Dataset) -> dict[str, float]:
    """Thresholds of labelled battles that the members predict here, as they predict those of the job.

    Battles that cannot be scored count with the prior, as they do in the input.

    Args:
        battles: each with a verdict, seen neither by training nor by calibration.
    """
    log_probs: FloatArray = predictor.run(Job(battles, folder=job.folder, progress=job.progress)).log_probs
    return set_thresholds(log_probs, np.asarray(battles["verdict"][:], np.float64), battles["group"][:])


def sets_line(percent: int, sets: BoolArray, battles: datasets.Dataset) -> str:
    """How wide the sets are, and how many of the known verdicts they hold. sets: bool [n, 3]."""
    one, two, three = np.bincount(sets.sum(axis=1), minlength=4)[1:] / max(len(sets), 1)
    line = f"verdict sets of {percent} %: {one:.0%} of battles have one label, {two:.0%} two, {three:.0%} all three"
    verdicts = battles["verdict"][:]
    known = np.flatnonzero([verdict is not None for verdict in verdicts])
    if not len(known):
        return line
    groups = battles["group"][:]
    figures = measure_sets(sets[known], [verdicts[row] for row in known], [groups[row] for row in known])
    return f"{line}; {figures[0]['coverage']['value']:.1%} of {len(known):,} known verdicts are in theirs"
