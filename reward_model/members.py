"""What `--model` may name, behind one method: a directory of a run, a baseline or a blend, or a file of probabilities.

Opening a member reads its settings only, so that what is missing is said before a model is loaded; weights are loaded when
the first shard needs them.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.errors import BattleError
from arena_data.schema import LABELS
from arena_data.style import STYLE_VERSION, StyleArrays, style_arrays
from arena_data.submission import align
from reward_model.blending import Blend
from reward_model.deadline import Deadline
from reward_model.json_files import read_json
from reward_model.labelled import read_log_probs
from reward_model.processes import Team
from reward_model.run_directory import RunDirectory, read_run
from reward_model.settings import BLEND, CONFIG
from reward_model.shards import ShardStore, fingerprint

if TYPE_CHECKING:
    from reward_model.battle_scores import BattleScores
    from reward_model.loading import LoadOptions
    from reward_model.scoring import Scorer

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
        counted: what `style` has counted, shared by the parts of a job.
    """

    battles: datasets.Dataset
    team: Team = field(default_factory=Team)
    folder: Path | None = None
    deadline: Deadline = field(default_factory=lambda: Deadline(None))
    progress: bool = False
    others_follow: bool = False
    counted: list[StyleArrays] = field(default_factory=list)

    @property
    def style(self) -> StyleArrays:
        """Style features of the battles, counted once for all members."""
        if not self.counted:
            self.counted.append(style_arrays(self.battles, progress=self.progress and len(self.battles) > 2000))
        return self.counted[0]

    def part(self, members: int) -> "Job":
        """The job of the first of so many members that are still to come: its share of the time."""
        follow = self.others_follow or members > 1
        return dataclasses.replace(self, deadline=self.deadline.share(members), others_follow=follow)


@dataclass(frozen=True)
class MemberPrediction:
    """What one member says of n battles.

    log_probs: float64 [n, 3], calibrated if asked. failed: bool [n], battles given the prior. shortened: bool [n], read at
    a shorter max_length for want of time. scores: rewards and tie strengths, where the member has them.
    """

    log_probs: FloatArray
    failed: npt.NDArray[np.bool_]
    shortened: npt.NDArray[np.bool_]
    scores: "BattleScores | None" = None

    @staticmethod
    def whole(log_probs: FloatArray) -> "MemberPrediction":
        nothing = np.zeros(len(log_probs), dtype=bool)
        return MemberPrediction(log_probs, nothing, nothing)


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
    """What the flags ask of every member. max_length: None for that of training."""

    load: "LoadOptions"
    batch_tokens: int | None = None
    max_length: int | None = None
    swap_average: bool = False
    style: bool = True
    calibrated: bool = True


def open_member(path: str, options: MemberOptions) -> Member:
    """Raises: BattleError, one line, for what is none of the four."""
    folder = Path(path)
    if folder.is_file():
        return FileMember(path)
    if (folder / BLEND).is_file():
        return BlendMember(folder, options)
    if folder.is_dir() and not (folder / CONFIG).exists() and _is_baseline(folder):
        return BaselineMember(folder, options)
    return RunMember(read_run(folder), options)


def _is_baseline(folder: Path) -> bool:
    try:
        from baselines.base import is_baseline
    except ImportError:
        return False
    return bool(is_baseline(folder))


class RunMember:
    """A run directory. Its model is loaded once, when first needed."""

    def __init__(self, run: RunDirectory, options: MemberOptions):
        self.run, self.options = run, options
        self.name = run.directory.name
        self.max_length = options.max_length or run.config.max_length
        self.first_error: str | None = None
        self._scorer: Scorer | None = None

    def sharing(self, **changes: Any) -> "RunMember":
        """The same run with other options (fields of `MemberOptions`) and the same model, which is loaded now."""
        other = RunMember(self.run, dataclasses.replace(self.options, **changes))
        other._scorer = self._loaded_scorer()
        return other

    @property
    def has_style(self) -> bool:
        """Whether the run has a style head, open or closed."""
        return self.run.style is not None

    def predict(self, job: Job) -> MemberPrediction:
        from reward_model.battle_scores import battle_scores
        from reward_model.shard_loop import joined, wait_for

        loop = self._loop(job)
        own = job.team.share(len(loop.shards))
        found = loop.run(own)
        found |= wait_for(loop, [n for n in range(len(loop.shards)) if n not in own], job.team.others_work)
        self.first_error = self._scorer.first_error if self._scorer else None
        self._make_room(job)
        values, shortened = joined(loop.sequences, loop.shards, found)
        config, styled = self.run.config, self.run.style is not None and self.options.style
        scores = battle_scores(
            values, config.encoding, job.style if styled else None, self.run.style if styled else None
        )
        raw = scores.log_probs(config.tie_link)
        failed = np.asarray(~np.isfinite(raw).all(axis=1))
        log_probs = np.tile(np.log(self.prior()), (len(raw), 1))
        calibrate = self.run.calibration.apply if self.options.calibrated else np.asarray
        log_probs[~failed] = calibrate(raw[~failed])
        return MemberPrediction(log_probs, failed, shortened & ~failed, scores)

    def work(self, job: Job) -> None:
        loop = self._loop(job)
        loop.run(job.team.share(len(loop.shards)))
        self._make_room(job)

    def _make_room(self, job: Job) -> None:
        """Lets go of a model on a GPU when another one needs it."""
        if job.others_follow and self._scorer is not None and self._scorer.loaded.device.type != "cpu":
            self._scorer = None

    def prior(self) -> FloatArray:
        """float64 [3]: the verdicts' shares in training; thirds where the run does not say."""
        found = self.run.metrics.get("prior")
        if isinstance(found, list) and len(found) == len(LABELS) and all(isinstance(x, int | float) for x in found):
            shares = np.clip(np.asarray(found, dtype=np.float64), 1e-6, None)
            return shares / shares.sum()
        return np.full(len(LABELS), 1 / len(LABELS))

    def _loop(self, job: Job) -> Any:
        from reward_model.backbone import load_tokenizer
        from reward_model.encoding import BattleEncoder
        from reward_model.sequences import distinct_sequences
        from reward_model.shard_loop import ShardLoop, plan_shards

        config = self.run.config
        encoding: Any = config.encoding
        # The scorer's tokenizer may not be used: the next shard is tokenised in a thread.
        encoder = BattleEncoder(load_tokenizer(str(self.run.directory)), self.max_length, encoding)
        sequences = distinct_sequences(job.battles, encoding, both_orders=self.options.swap_average)
        shards = plan_shards(sequences)
        store = None
        if job.folder is not None:
            store = ShardStore(job.folder / self._fingerprint(sequences.fingerprint, [len(shard) for shard in shards]))
        return ShardLoop(
            battles=job.battles,
            sequences=sequences,
            shards=shards,
            encoder=encoder,
            scorer=self._loaded_scorer,
            store=store,
            deadline=job.deadline,
            progress=job.progress and job.team.is_main,
        )

    def _loaded_scorer(self) -> "Scorer":
        from reward_model.loading import load_run_model
        from reward_model.scoring import Scorer

        if self._scorer is None:
            loaded = load_run_model(self.run, self.options.load)
            self._scorer = Scorer(loaded, self.options.batch_tokens, self.max_length)
        return self._scorer

    def _fingerprint(self, texts: str, shards: list[int]) -> str:
        from reward_model.loading import weight_files

        load, config = self.options.load, self.run.config
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weight_files(self.run.directory)]
        return fingerprint(
            files=stats,
            base=load.base_model or config.base_model,
            max_length=self.max_length,
            encoding=config.encoding,
            dtype=str(load.torch_dtype()),
            quantised=(load.load_in_4bit, load.load_in_8bit, load.merge),
            versions=(config.transcript_version, config.truncation_version, STYLE_VERSION),
            texts=texts,
            shards=shards,
        )


class BaselineMember:
    """A system of the package `baselines`."""

    first_error: str | None = None

    def __init__(self, folder: Path, options: MemberOptions):
        from baselines.base import read_baseline

        self.name = folder.name
        self.found, self.calibrated = read_baseline(folder), options.calibrated
        if options.load.base_model:
            self.found.baseline.use_backbone(options.load.base_model)

    def predict(self, job: Job) -> MemberPrediction:
        log_probs = np.asarray(self.found.baseline.log_probabilities(job.battles), dtype=np.float64)
        return MemberPrediction.whole(self.found.calibration.apply(log_probs) if self.calibrated else log_probs)

    def work(self, job: Job) -> None:
        """Nothing: it is quick, and the main process does it."""


class BlendMember:
    """Several members as `python -m reward_model blend` has weighted and calibrated them."""

    def __init__(self, folder: Path, options: MemberOptions):
        self.name, self.calibrated = folder.name, options.calibrated
        self.blend = read_json(folder / BLEND, Blend.from_json)
        paths = [folder / name for name in self.blend.members]  # one that is absolute stays so
        for path in paths:
            if (path / BLEND).is_file():
                raise BattleError("has a blend among its members", file=folder / BLEND, found=str(path))
        self.members = [open_member(str(path), options) for path in paths]

    @property
    def first_error(self) -> str | None:
        return next((member.first_error for member in self.members if member.first_error), None)

    def predict(self, job: Job) -> MemberPrediction:
        left = range(len(self.members), 0, -1)
        found = [member.predict(job.part(count)) for member, count in zip(self.members, left, strict=True)]
        log_probs = [one.log_probs for one in found]
        pooled = self.blend.apply(log_probs) if self.calibrated else self.blend.pool(log_probs)
        return MemberPrediction(
            pooled,
            np.logical_or.reduce([one.failed for one in found]),
            np.logical_or.reduce([one.shortened for one in found]),
        )

    def work(self, job: Job) -> None:
        for place, member in enumerate(self.members):
            member.work(job.part(len(self.members) - place))


class FileMember:
    """Probabilities that another model has written, in the format of a submission; taken as they are."""

    first_error: str | None = None

    def __init__(self, path: str):
        self.name, self.path = Path(path).name, path
        self.ids, self.log_probs = read_log_probs(path)

    def predict(self, job: Job) -> MemberPrediction:
        return MemberPrediction.whole(align(job.battles["id"], self.ids, self.log_probs, self.path))

    def work(self, job: Job) -> None:
        """Nothing: it is done already."""


def check_rewards(members: list[Member]) -> None:
    """Raises: BattleError unless there is one member and it has rewards."""
    if len(members) != 1 or not isinstance(members[0], RunMember):
        raise BattleError(
            "rewards of several models, or of one without, are on no common scale",
            found=[member.name for member in members],
            expected="one run directory",
            fix="leave out --rewards",
        )
