"""From a finished prediction of labelled battles to their report: the audit, the peers, the page, the figures.

Changed battles of the audit go the way of all others, through the members and their stored shards, so that the audit
with the style head closed reads nothing a second time: closing it changes what is made of the scores, not the scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from arena_data.errors import InputError
from reward_model.audit.audit import MAX_BATTLES, audit
from reward_model.baselines.peers import PEERS, cross_fitted
from reward_model.model.four_outcomes import usable
from reward_model.predict.member import FloatArray, Job, Member
from reward_model.predict.open_member import FileMember
from reward_model.predict.predictor import Prediction, Predictor
from reward_model.predict.run_member import RunMember
from reward_model.report.data import PRIOR, ReportData
from reward_model.report.usable import Usable


@dataclass(frozen=True)
class Reported:
    """A prediction that is to be reported: its battles (all of them), the members, what they said, how they were run."""

    job: Job
    predictor: Predictor
    prediction: Prediction


def check_labels(battles: datasets.Dataset, file: object) -> None:
    """Raises: InputError where no battle has a verdict: there would be nothing to report."""
    if all(verdict is None for verdict in battles["verdict"][:]):
        raise InputError(
            "no battle has a verdict, so there is nothing to report",
            file=file,
            expected="labelled battles",
            fix="leave out --report and --json",
        )


def labelled(battles: datasets.Dataset) -> np.ndarray:
    """int64 [k]: the rows that have a verdict."""
    return np.flatnonzero([verdict is not None for verdict in battles["verdict"][:]])


def report_data(
    done: Reported,
    peers: Mapping[str, FloatArray],
    max_battles: int | None = None,
    left_out: Sequence[str] = (),
) -> ReportData:
    """All that the report shows.

    Args:
        done: the prediction.
        peers: name to log-probabilities float [k, 3] of the battles that have a verdict, `labelled`.
        max_battles: each change of the audit is tried on so many battles at most; 0 leaves the audit out.
        left_out: names of systems that could not be fitted to so few battles.
    """
    rows = labelled(done.job.battles)
    battles = done.job.battles.select(rows)
    members = done.predictor.members
    log_probs = done.prediction.log_probs[rows]
    most = MAX_BATTLES if max_battles is None else max_battles
    audited = closed = None
    if most and not any(isinstance(member, FileMember) for member in members):
        audited = _audit(done, done.predictor, battles, log_probs, most)
        without_style = [_closed(member) for member in members]
        if any(member.has_style and member.options.style for member in members if isinstance(member, RunMember)):
            predictor = Predictor(without_style, done.predictor.weights.tolist(), done.predictor.pooling)
            closed = _audit(done, predictor, battles, predictor.run(_job(done, done.job.battles)).log_probs[rows], most)
    return ReportData(
        battles=battles,
        log_probs=log_probs,
        log_probs_raw=_uncalibrated(done, rows),
        truncated=None if (truncated := done.prediction.truncated) is None else truncated[rows],
        peers=peers,
        audit=audited,
        audit_style_off=closed,
        usable=_usable(done, rows),
        facts=_facts(done, len(rows)) | ({"too few battles to fit": ", ".join(left_out)} if left_out else {}),
        have_prior=int(done.prediction.failed.sum()),
    )


def simple_peers(
    battles: datasets.Dataset,
    members: list[Member],
    *,
    progress: bool = False,
    check: Callable[[], None] = lambda: None,
) -> tuple[dict[str, FloatArray], list[str]]:
    """What simple systems say of battles that have a verdict, and the names of those that so few could not fit.

    The class prior is that of training where the one member knows it, as in the run's own metrics.
    """
    peers = cross_fitted(battles, progress=progress, check=check) | own_prior(members, len(battles))
    return peers, [name for name in PEERS if name not in peers]


def own_prior(members: list[Member], battles: int) -> dict[str, FloatArray]:
    """The training battles' shares of the one member that knows them, for so many battles; empty otherwise."""
    if len(members) == 1 and isinstance(members[0], RunMember) and "prior" in members[0].run.metrics:
        return {PRIOR: np.tile(np.log(members[0].prior()), (battles, 1))}
    return {}


def _job(done: Reported, battles: datasets.Dataset) -> Job:
    return Job(battles, folder=done.job.folder, progress=done.job.progress, check=done.job.check)


def _audit(done: Reported, predictor: Predictor, battles: datasets.Dataset, log_probs: FloatArray, most: int) -> Any:
    def predict(changed: datasets.Dataset) -> FloatArray:
        return predictor.run(_job(done, changed)).log_probs

    return audit(battles, log_probs, predict, most, progress=done.job.progress)


def _closed(member: Member) -> Member:
    """The member with its style head closed, where it has one."""
    if isinstance(member, RunMember) and member.has_style:
        return member.sharing(style=False)
    return member


def _uncalibrated(done: Reported, rows: np.ndarray) -> FloatArray | None:
    """What a single model said before calibration; None for several, or where nothing was calibrated."""
    [member, *more], [prediction, *_] = done.predictor.members, done.prediction.members
    if more or not isinstance(member, RunMember) or prediction.scores is None:
        return None
    if not member.options.calibrated or member.run.calibration.method == "none":
        return None
    raw = np.asarray(prediction.scores.log_probs(member.run.config.tie_link), np.float64)
    # What could not be scored has the prior, before and after.
    return np.where(prediction.failed[:, None], prediction.log_probs, raw)[rows]


def _usable(done: Reported, rows: np.ndarray) -> Usable | None:
    """What a single model with an absolute zero says of single responses; None for several, or another."""
    [member, *more], [prediction, *_] = done.predictor.members, done.prediction.members
    scores = prediction.scores
    if more or not isinstance(member, RunMember) or scores is None or not scores.grounded:
        return None
    both_bad = scores.both_bad(member.run.config.tie_link)
    return Usable(usable(scores.reward_a), usable(scores.reward_b), both_bad).rows(rows)


def _facts(done: Reported, battles: int) -> dict[str, Any]:
    members = done.predictor.members
    facts: dict[str, Any] = {"model": " + ".join(member.name for member in members)}
    if len(members) > 1:
        facts["pooling"] = f"{done.predictor.pooling}, weights {', '.join(f'{w:.2f}' for w in done.predictor.weights)}"
    elif isinstance(members[0], RunMember):
        run = members[0].run
        style = "open" if members[0].has_style and members[0].options.style else "closed"
        facts |= {
            "backbone": run.config.base_model,
            "encoding": f"{run.config.encoding}, {members[0].max_length} tokens",
            "ties": run.config.tie_link,
            "outcomes": run.config.outcomes,
            "style head": style if members[0].has_style else "none",
            "calibration": run.calibration.method if members[0].options.calibrated else "none",
        }
    if missing := len(done.job.battles) - battles:
        facts["without a verdict, left out"] = f"{missing:,} battles"
    if failed := int(done.prediction.failed.sum()):
        facts["could not be scored, have the prior"] = f"{failed:,} battles"
    return facts
