"""A stock one-label reward model as a member: its rewards, and the probabilities that a fitted tie link makes of them."""

from typing import TYPE_CHECKING

import numpy as np

from arena_data.errors import InputError
from arena_data.file_io import fingerprint
from reward_model.predict.member import Job, MemberOptions, MemberPrediction
from reward_model.run_directory.stock import WrappedModel, located, not_calibrated
from reward_model.tokens.encodings import encoding_named

if TYPE_CHECKING:
    from reward_model.model.margins import BattleScores
    from reward_model.predict.stock_rewards import StockScorer


class StockMember:
    """A stock model, loaded when first needed.

    Args:
        name: directory or Hub id of the weights, or None for a wrapped model's own.
        wrapped: as `read_wrapped` gives it; None for a model without a link, which has rewards and no probabilities.
        options: of which dtype, device, `base_model`, batch_tokens and max_length count.
    """

    first_error: str | None = None
    swap_exact = True

    def __init__(self, name: str | None, wrapped: WrappedModel | None, options: MemberOptions):
        assert (name is None) != (wrapped is None)
        self.name = wrapped.directory.name if wrapped is not None else str(name)
        load = options.load
        refused = {"--load_in_4bit": load.load_in_4bit, "--load_in_8bit": load.load_in_8bit, "--merge": load.merge}
        refused |= {"--attn_implementation": load.attn_implementation is not None}
        refused |= {"--calibration none": not options.calibrated}
        if given := [flag for flag, is_given in refused.items() if is_given]:
            raise InputError("a stock reward model is read as it is", file=self.name, fix=f"leave out {given[0]}")
        self.source: str
        self.revision: str | None
        self.source, self.revision = (str(name), None) if wrapped is None else located(wrapped, options.load.base_model)
        self.wrapped, self.options = wrapped, options
        self._scorer: StockScorer | None = None

    def predict(self, job: Job) -> MemberPrediction:
        """Raises: InputError for a model without a link."""
        if self.wrapped is None:
            raise not_calibrated(self.name)
        scores, truncated, shortened = self._read(job)
        failed = ~np.isfinite(scores.margin)
        log_probs = np.tile(np.log(np.clip(self.wrapped.prior, 1e-6, None)), (len(failed), 1))
        log_probs[~failed] = self.wrapped.link.log_probs(scores.margin[~failed])
        reason = "the time limit was reached" if job.deadline.is_over else "its reward is not a number"
        self.first_error = reason if failed.any() else None
        return MemberPrediction(log_probs, failed, shortened & ~failed, truncated, scores)

    def scores(self, job: Job) -> "tuple[BattleScores, np.ndarray]":
        """Rewards of both responses, in the model's own unit, and bool [n]: battles of which a text was cut."""
        return self._read(job)[:2]

    def work(self, job: Job) -> None:
        self._read(job)

    def _read(self, job: Job) -> "tuple[BattleScores, np.ndarray, np.ndarray]":
        """Reads the battles with the processes of the team: `scores`, and bool [n]: shortened for want of time.

        The main process returns what all have read. Another one returns nothing of use, and has done its share.
        """
        from reward_model.model.margins import BattleScores
        from reward_model.predict.shard_loop import joined, plan_shards
        from reward_model.predict.shard_store import SHARD_FORMAT, ShardStore
        from reward_model.predict.stock_shards import StockShards
        from reward_model.tokens.sequences import distinct_sequences

        if self.wrapped is not None:
            self.wrapped.reference.check_same(self.source)
        # Both responses of a battle, each distinct text once.
        sequences = distinct_sequences(job.battles, encoding_named("separate"), both_orders=False)
        shards, store = plan_shards(sequences), None
        if job.folder is not None and self.wrapped is not None:
            load, reference = self.options.load, self.wrapped.reference
            of_model = (self.source, self.revision, sorted(reference.files.items()))
            reading = (SHARD_FORMAT, load.dtype, self.options.max_length)
            key = fingerprint(
                stock=of_model, reading=reading, texts=sequences.fingerprint, shards=list(map(len, shards))
            )
            store = ShardStore(job.folder / key)
        loop = StockShards(
            battles=job.battles,
            sequences=sequences,
            shards=shards,
            scorer=self._loaded,
            store=store,
            deadline=job.deadline,
            progress=job.progress and job.team.is_main,
            check=job.check,
        )
        own = job.team.share(len(shards))
        others = [number for number in range(len(shards)) if number not in own] if job.team.is_main else []
        values, cut, shortened = joined(sequences, shards, loop.run(own, others))
        if job.others_follow and self._scorer is not None and self._scorer.model.device.type != "cpu":
            self._scorer = None
        a, b = values[:, 0, 0].astype(np.float64), values[:, 1, 0].astype(np.float64)
        tie_strength = 0.0 if self.wrapped is None else self.wrapped.link.tie_strength
        return BattleScores(a, b, np.full(len(a), tie_strength)), cut, shortened

    def _loaded(self) -> "StockScorer":
        from reward_model.predict.stock_rewards import StockScorer

        if self._scorer is None:
            load = self.options.load
            self._scorer = StockScorer(
                self.source,
                self.revision,
                dtype=load.dtype,
                device=load.device,
                batch_tokens=self.options.batch_tokens,
                max_length=self.options.max_length,
            )
        return self._scorer
