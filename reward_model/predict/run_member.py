"""A run directory as a member of a prediction: battles become sequences, sequences scores, scores probabilities.

Opening it reads settings only; weights are loaded when the first shard needs them.
"""

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from arena_data.file_io import fingerprint
from arena_data.schema import LABELS
from arena_data.style.features import STYLE_VERSION
from reward_model.predict.member import FloatArray, Job, MemberOptions, MemberPrediction
from reward_model.predict.shard_store import SHARD_FORMAT, ShardStore
from reward_model.run_directory.reading import RunDirectory
from reward_model.tokens.encodings import encoding_named

if TYPE_CHECKING:
    from reward_model.predict.scorer import Scorer
    from reward_model.tokens.encoding import BattleEncoder


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
        return self.encoding.scores_responses or self.options.swap_average

    def predict(self, job: Job) -> MemberPrediction:
        from reward_model.model.margins import battle_scores
        from reward_model.predict.shard_loop import joined

        loop = self._loop(job)
        own = job.team.share(len(loop.shards))
        scored = loop.run(own, [number for number in range(len(loop.shards)) if number not in own])
        self.first_error = self._scorer.first_error if self._scorer else None
        self._make_room(job)
        values, truncated, shortened = joined(loop.sequences, loop.shards, scored)
        config, styled = self.run.config, self.run.style is not None and self.options.style
        scores = battle_scores(values, self.encoding, job.style if styled else None, self.run.style if styled else None)
        raw = scores.log_probs(config.tie_link)
        failed = np.asarray(~np.isfinite(raw).all(axis=1))
        log_probs = np.tile(np.log(self.prior()), (len(raw), 1))
        calibrate = self.run.calibration.apply if self.options.calibrated else np.asarray
        log_probs[~failed] = calibrate(raw[~failed])
        return MemberPrediction(log_probs, failed, shortened & ~failed, truncated, scores)

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
        prior = self.run.metrics.get("prior")
        if isinstance(prior, list) and len(prior) == len(LABELS) and all(isinstance(x, int | float) for x in prior):
            shares = np.clip(np.asarray(prior, dtype=np.float64), 1e-6, None)
            return shares / shares.sum()
        return np.full(len(LABELS), 1 / len(LABELS))

    def _loop(self, job: Job) -> Any:
        from reward_model.predict.shard_loop import ShardLoop, plan_shards
        from reward_model.tokens.sequences import distinct_sequences

        encoder = self._encoder()
        sequences = distinct_sequences(job.battles, self.encoding, both_orders=self.options.swap_average)
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
        from reward_model.model.backbone import check_positions
        from reward_model.predict.scorer import Scorer
        from reward_model.run_directory.load_model import load_run_model

        if self._scorer is None:
            loaded = load_run_model(self.run, self.options.load)
            check_positions(loaded.model, self.max_length)
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
