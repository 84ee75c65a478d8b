"""A run directory as a member of a prediction: battles become sequences, sequences scores, scores probabilities.

Opening it reads settings only; weights are loaded when the first shard needs them.
"""

import dataclasses
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.file_io import fingerprint
from arena_data.schema import LABELS
from arena_data.style.features import STYLE_VERSION
from arena_data.transcripts.model_names import with_model_names
from reward_model.predict.member import FloatArray, Job, MemberOptions, MemberPrediction
from reward_model.predict.shard_store import SHARD_FORMAT, ShardStore
from reward_model.predict.swap_average import both_orders, unsure_battles, with_swapped_responses
from reward_model.run_directory.reading import RunDirectory
from reward_model.tokens.encodings import encoding_named

if TYPE_CHECKING:
    from reward_model.model.margins import BattleScores
    from reward_model.predict.deadline import Deadline
    from reward_model.predict.scorer import Scorer
    from reward_model.predict.shard_loop import ShardLoop
    from reward_model.tokens.encoding import BattleEncoder


@dataclass
class Reading:
    """What was read of n battles.

    values: float32 [n, rows, 2]. truncated, shortened: bool [n], whether any text of a battle was.
    """

    values: npt.NDArray[np.float32]
    truncated: npt.NDArray[np.bool_]
    shortened: npt.NDArray[np.bool_]


class RunMember:
    """A run directory. Its model is loaded once, when first needed."""

    def __init__(self, run: RunDirectory, options: MemberOptions):
        self.run, self.options = run, options
        self.name = run.directory.name
        self.encoding = encoding_named(run.config.encoding)
        self.max_length = options.max_length or run.config.max_length
        self.first_error: str | None = None
        self._scorer: Scorer | None = None
        self._of_thread = threading.local()

    def sharing(self, **changes: Any) -> "RunMember":
        """The same run with other options (fields of `MemberOptions`) and the same model, which is loaded now."""
        other = RunMember(self.run, dataclasses.replace(self.options, **changes))
        other._scorer = self._loaded_scorer()
        return other

    @property
    def has_style(self) -> bool:
        """Whether the run has a style head, open or closed."""
        return self.run.style is not None

    @property
    def swap_exact(self) -> bool:
        """Whether swapping a battle swaps its margin exactly."""
        return not self.reads_orders or self.options.swap_average == 1

    @property
    def reads_orders(self) -> bool:
        """Whether the order of the responses is read, so that swap averaging changes something."""
        return self.encoding.rows_read(both_orders=True) > self.encoding.rows_read(both_orders=False)

    @property
    def is_grounded(self) -> bool:
        """Whether both-bad is an outcome, and rewards have an absolute zero."""
        return self.run.config.outcomes == "four"

    def predict(self, job: Job) -> MemberPrediction:
        reading = self._read(job)
        self.first_error = self._scorer.first_error if self._scorer else None
        self._make_room(job)
        scores = self._battle_scores(reading.values, job)
        raw = scores.log_probs(self.run.config.tie_link)
        failed = np.asarray(~np.isfinite(raw).all(axis=1))
        if failed.any() and self.first_error is None and job.deadline.is_over:
            self.first_error = "the time limit was reached"
        log_probs = np.tile(np.log(self.prior()), (len(raw), 1))
        calibrate = self.run.calibration.apply if self.options.calibrated else np.asarray
        log_probs[~failed] = calibrate(raw[~failed])
        return MemberPrediction(log_probs, failed, reading.shortened & ~failed, reading.truncated, scores)

    def work(self, job: Job) -> None:
        self._read(job)
        self._make_room(job)

    def _read(self, job: Job) -> Reading:
        """Reads the battles with the processes of the team.

        The main process returns what all have read. Another one returns nothing of use, and has done its share.
        """
        battles = with_model_names(job.battles) if self.run.config.show_models else job.battles
        share = self.options.swap_average if self.reads_orders else 0.0
        if not 0 < share < 1:
            return self._pass(job, battles, job.deadline, twice=share > 0)
        deadline = job.deadline.share(1 + share)
        first = self._pass(job, battles, deadline, complete=True)
        places = unsure_battles(self._battle_scores(first.values, job).margin, share)
        deadline.ends = job.deadline.ends
        second = self._pass(job, with_swapped_responses(battles, places), deadline)
        values, left = both_orders(first.values, places, second.values)
        first.truncated[places] |= second.truncated
        first.shortened[places] |= second.shortened
        if job.team.is_main and len(left):
            warnings.warn(
                f"{len(left):,} battles could not be read in the other order as well and keep the first", stacklevel=2
            )
        return Reading(values, first.truncated, first.shortened)

    def _pass(
        self,
        job: Job,
        battles: datasets.Dataset,
        deadline: "Deadline",
        *,
        twice: bool = False,
        complete: bool = False,
    ) -> Reading:
        """Reads battles once.

        Args:
            twice: read both orders of a battle whose order matters.
            complete: other processes than the main one need all scores too, and wait for them.
        """
        from reward_model.predict.shard_loop import joined

        loop = self._loop(job, battles, deadline, twice)
        own = job.team.share(len(loop.shards))
        others = [number for number in range(len(loop.shards)) if number not in own]
        if job.team.is_main:
            scored = loop.run(own, others)
        else:
            scored = loop.run(own)
            if complete:
                scored |= loop.awaited(others)
        return Reading(*joined(loop.sequences, loop.shards, scored))

    def _battle_scores(self, values: npt.NDArray[np.float32], job: Job) -> "BattleScores":
        from reward_model.model.margins import battle_scores

        styled = self.run.style is not None and self.options.style
        style, head = (job.style, self.run.style) if styled else (None, None)
        return battle_scores(values, self.encoding, style, head, grounded=self.is_grounded)

    def _make_room(self, job: Job) -> None:
        """Lets go of a model on a GPU when another one needs it."""
        if job.others_follow and self._scorer is not None and self._scorer.loaded.device.type != "cpu":
            self._scorer = None

    def prior(self) -> FloatArray:
        """float64 [3]: the verdicts' shares in training; thirds where the run does not say."""
        prior = self.run.metrics.get("prior")
        if isinstance(prior, list) and len(prior) == len(LABELS) and all(isinstance(x, int | float) for x in prior):
            shares = np.clip(np.asarray(prior, dtype=np.float64), 1e-6, None)
            return shares / shares.sum()
        return np.full(len(LABELS), 1 / len(LABELS))

    def _loop(self, job: Job, battles: datasets.Dataset, deadline: "Deadline", twice: bool) -> "ShardLoop":
        from reward_model.predict.shard_loop import ShardLoop, plan_shards
        from reward_model.tokens.sequences import distinct_sequences

        encoder = self._encoder()
        sequences = distinct_sequences(battles, self.encoding, both_orders=twice)
        shards = plan_shards(sequences)
        store = None
        if job.folder is not None:
            store = ShardStore(job.folder / self._fingerprint(sequences.fingerprint, [len(shard) for shard in shards]))
        return ShardLoop(
            battles=battles,
            sequences=sequences,
            shards=shards,
            encoder=encoder,
            scorer=self._loaded_scorer,
            store=store,
            deadline=deadline,
            progress=job.progress and job.team.is_main,
            check=job.check,
        )

    def _encoder(self) -> "BattleEncoder":
        """An encoder of the calling thread's own, loaded once: one tokenizer may not be used by two threads at a time.

        Nor may the scorer's tokenizer be used, since the next shard is tokenised while the scorer works.
        """
        from reward_model.tokens.encoding import BattleEncoder
        from reward_model.tokens.tokenizer import load_tokenizer

        encoder: BattleEncoder | None = getattr(self._of_thread, "encoder", None)
        if encoder is None:
            encoder = BattleEncoder(load_tokenizer(str(self.run.directory)), self.max_length, self.encoding)
            self._of_thread.encoder = encoder
        return encoder

    def _loaded_scorer(self) -> "Scorer":
        from reward_model.model.backbone import check_extension, check_positions
        from reward_model.predict.scorer import Scorer
        from reward_model.run_directory.load_model import load_run_model

        if self._scorer is None:
            loaded = load_run_model(self.run, self.options.load)
            check_positions(loaded.model, self.max_length)
            check_extension(loaded.model, self.max_length, self.run.config.max_length)
            self._scorer = Scorer(loaded, self.options.batch_tokens, self.max_length)
        return self._scorer

    def _fingerprint(self, texts: str, shards: list[int]) -> str:
        from reward_model.run_directory.identity import run_identity

        load, config = self.options.load, self.run.config
        return fingerprint(
            format=SHARD_FORMAT,
            files=run_identity(self.run, load.base_model),
            max_length=self.max_length,
            encoding=config.encoding,
            dtype=str(load.torch_dtype()),
            loading=(load.load_in_4bit, load.load_in_8bit, load.merge, load.attn_implementation),
            versions=(config.transcript_version, config.truncation_version, STYLE_VERSION),
            texts=texts,
            shards=shards,
        )
