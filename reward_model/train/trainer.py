"""TRL's RewardTrainer with ties: battles by token budget, a three-way likelihood, and `eval_log_loss` in every evaluation.

What is taken over from TRL 1.16 and Transformers 5.23 is the loop itself: devices, engines, optimizer, checkpoints,
trackers. What is put in its place, with the reason:

- the data loaders: batches of about equal tokens, dealt to the ranks here, because Accelerate's would deal fixed sizes;
- `num_items_in_batch`: the number of battles in an optimizer step on all ranks, so that the loss is the plain mean over
  battles however they are batched;
- evaluation: log-probabilities in the order of the dataset, gathered whole, so that metrics are the same on any number of
  processes.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import EvalLoopOutput

from reward_model.model.batch_rewards import batch_rewards
from reward_model.model.device import compute_on, keep_one_device
from reward_model.model.four_outcomes import four_loss
from reward_model.model.losses import loss_of_readings
from reward_model.model.margins import margins
from reward_model.model.packed.cpu_memory import keep_freed_memory
from reward_model.model.score_layer import TieAwareScore, find_score_layer
from reward_model.model.source_offsets import SourceInputs, as_observed, source_losses
from reward_model.model.tie_links import log_probabilities
from reward_model.tokens.collator import SOURCE_COLUMNS, BattleCollator
from reward_model.tokens.encodings import encoding_named
from reward_model.tokens.token_budget import TokenBudgetSampler
from reward_model.train.adversarial import perturbed
from reward_model.train.checkpoints.checkpoint_trainer import CheckpointTrainer
from reward_model.train.device_figures import DeviceFigures
from reward_model.train.packed_reading import reader_on_all_ranks
from reward_model.train.precision import float32_score, keep_packing, to_one_dtype
from reward_model.train.progress import Throughput, evaluation_output, figures_of, figures_of_rewards
from reward_model.train.settings.config import TieRewardConfig


class BattleLoader(DataLoader):
    """A DataLoader whose epoch the Trainer can set; its batch sampler has already dealt the ranks their share."""

    def set_epoch(self, epoch: int) -> None:
        sampler = self.batch_sampler
        assert isinstance(sampler, TokenBudgetSampler)
        sampler.set_epoch(epoch)


class TieRewardTrainer(CheckpointTrainer):
    """Trains a model whose last layer is a TieAwareScore.

    Args:
        model: an AutoModelForSequenceClassification with one label and a TieAwareScore
            (`reward_model.model.score_layer.install_score_layer`), with or without LoRA.
        args: TieRewardConfig.
        train_dataset, eval_dataset: rows as `reward_model.tokens.collator.BattleCollator` wants them.
        processing_class: the tokenizer the rows were made with.
    """

    args: TieRewardConfig
    model: Any
    _signature_columns: Any
    # The loss below is already a share of the mean over the whole optimizer step.
    loss_is_scaled_for_ga: Any = True

    def __init__(self, *, model: Any, args: TieRewardConfig, processing_class: Any, **kwargs: Any):
        keep_one_device(args)
        compute_on(args.device)
        self.encoding = encoding_named(args.encoding)
        self._grounded_link = args.tie_link if args.outcomes == "four" else None
        collator = BattleCollator(processing_class.pad_token_id, self.encoding)
        super().__init__(model=model, args=args, data_collator=collator, processing_class=processing_class, **kwargs)
        if args.device.type == "cpu":
            keep_freed_memory()
            keep_packing(self.model)
        # TRL 1.16 casts all that is trained on a quantised model to bf16; the score layer stays float32.
        for module in self.model.modules():
            if isinstance(module, TieAwareScore):
                for parameter in module.parameters():
                    parameter.data = parameter.data.float()
        if args.deepspeed_plugin is not None:
            if args.deepspeed_plugin.zero_stage == 3 and (args.bf16 or args.fp16):
                to_one_dtype(self.model, torch.bfloat16 if args.bf16 else torch.float16)
        elif args.fp16:  # PyTorch's gradient scaler takes float32 only
            to_one_dtype(self.model, torch.float32)
        with self.compute_loss_context_manager():
            self._packed = reader_on_all_ranks(self.model, args, self.accelerator) if args.padding_free else None
        if self._packed is not None:
            self.data_collator = dataclasses.replace(collator, padding_free=True, shares=self._packed.causal)
        self.label_names = ["labels"]
        self._throughput: Throughput | None = None
        self._score: dict[str, torch.Tensor] = {}
        self._figures = DeviceFigures()
        self._searching = False  # for the direction of an adversarial perturbation: not a step to take note of

    # -- data ---------------------------------------------------------------------------------------------------

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return dataset  # Tokenised and cut by BattleEncoder; TRL would filter long rows out.

    def _set_signature_columns_if_needed(self) -> None:
        names = ["input_ids_a", "input_ids_b", "index", "labels", "teacher", "style_a", "style_b", "pair"]
        known = ["both_bad"] if self._grounded_link is not None else []
        self._signature_columns = [*names, *known, *SOURCE_COLUMNS]

    def _loader(self, dataset: Any, batch_tokens: int, shuffle: bool) -> BattleLoader:
        lengths = np.stack([np.asarray(dataset["length_a"]), np.asarray(dataset["length_b"])], axis=1)
        sampler = TokenBudgetSampler(
            lengths,
            batch_tokens,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            shuffle=shuffle,
        )
        return BattleLoader(
            self._remove_unused_columns(dataset),
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )

    def get_train_dataloader(self) -> DataLoader:
        return self._loader(self.train_dataset, self.args.batch_tokens, shuffle=True)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._loader(dataset, self.args.eval_batch_tokens or 2 * self.args.batch_tokens, shuffle=False)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        return self.get_eval_dataloader(test_dataset)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The Trainer's optimizer, with the score layer at a learning rate of its own."""
        optimizer = super().create_optimizer(model)
        rate = self.args.learning_rate if self.args.score_learning_rate is None else self.args.score_learning_rate
        module = find_score_layer(self.accelerator.unwrap_model(self.model))
        new = {id(parameter) for parameter in module.parameters()}
        for group in list(optimizer.param_groups):
            score = [parameter for parameter in group["params"] if id(parameter) in new]
            if score and "initial_lr" not in group:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in new]
                options = {name: value for name, value in group.items() if name not in ("params", "lr")}
                optimizer.add_param_group({**options, "params": score, "lr": rate})
        # A checkpoint of FSDP2's, which goes by parameters' names, would lose the options of a group that has none left.
        optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]
        return optimizer

    def _prepare_input(self, data: Any) -> Any:
        """To the device without waiting for the copy, and without DeepSpeed's change of dtype: labels stay float32."""
        if isinstance(data, torch.Tensor):
            return data.to(self.args.device, non_blocking=True)
        return super()._prepare_input(data)

    # -- the loss -----------------------------------------------------------------------------------------------

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        """Battles in this optimizer step, on all ranks."""
        battles = torch.tensor(sum(len(batch["index"]) for batch in batch_samples), device=device)
        return self.accelerator.gather(battles).sum() if self.args.world_size > 1 else battles

    def rewards(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """float32 [2, battles, 2]: (value, tie) of the first and second row of each battle; see `batch_rewards`."""
        return batch_rewards(model, batch, self._packed, caches=bool(getattr(self.model.config, "use_cache", False)))

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._packed is None else self._packed.reading()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The batch's share of the step's mean loss; with `return_outputs` also {"logits": log-probabilities [battles, 3]}.

        Whether the loss is finite is asked once an optimizer step (`DeviceFigures`): every question makes a GPU wait.
        """
        rewards = self.rewards(model, inputs)
        margin, tie_strength = margins(rewards, self.encoding, self._grounded_link)
        log_probs = log_probabilities(margin, tie_strength, self.args.tie_link)
        labels = inputs["labels"]
        options: dict[str, Any] = {
            "teacher": inputs.get("teacher"),
            "label_smoothing": self.args.label_smoothing_factor,
            "teacher_weight": self.args.teacher_weight,
            "teacher_temperature": self.args.teacher_temperature,
        }
        if self._grounded_link is not None:
            loss = four_loss(rewards, labels, inputs["both_bad"], self._grounded_link, **options)
        elif "source" in inputs:
            readings = self.encoding.readings(rewards[..., 0].unbind(), rewards[..., 1].unbind())
            sources = SourceInputs(*(inputs[name] for name in SourceInputs._fields))
            gaps = rewards[0, :, 2:] if rewards.shape[-1] > 2 else None
            loss = source_losses(readings, labels, self.args.tie_link, sources, gaps, **options)
            log_probs = as_observed(log_probs, sources.tie_observed)
        else:
            readings = self.encoding.readings(rewards[..., 0].unbind(), rewards[..., 1].unbind())
            loss = loss_of_readings(readings, labels, self.args.tie_link, **options)
        if self.args.center_rewards_coefficient:
            loss = loss + self.args.center_rewards_coefficient * rewards[..., 0].sum(dim=0) ** 2
        if self.model.training:
            self._figures.add_loss(self.state.global_step, inputs["index"], loss)
        battles = num_items_in_batch if num_items_in_batch is not None else len(labels)
        # Engines average gradients over ranks; the step's mean needs their sum.
        shared = loss.sum() / battles * (self.args.world_size if num_items_in_batch is not None else 1)
        if self.model.training and not self._searching:
            self._note(inputs, rewards, margin, log_probs)
        return (shared, {"logits": log_probs}) if return_outputs else shared

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        self._throughput = self._throughput or Throughput()
        with self._reading():
            loss = self._training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            self._figures.check_losses()  # raises NotFiniteError before the optimizer's step
        return loss

    def _training_step(self, model: Any, inputs: Any, num_items_in_batch: Any) -> torch.Tensor:
        active = self.args.adversarial_norm > 0 and (self.state.epoch or 0) >= self.args.adversarial_start
        if not active:
            return super().training_step(model, inputs, num_items_in_batch)
        prepared = self._prepare_inputs(inputs)
        inner = self.accelerator.unwrap_model(model)

        def loss() -> torch.Tensor:
            self._searching = True
            try:
                with self.compute_loss_context_manager():
                    share: torch.Tensor = self.compute_loss(inner, prepared, num_items_in_batch=num_items_in_batch)
                return share
            finally:
                self._searching = False

        with perturbed(
            inner,
            loss,
            norm=self.args.adversarial_norm,
            names=self.args.adversarial_parameters,
        ):
            return super().training_step(model, inputs, num_items_in_batch)

    # -- saving -------------------------------------------------------------------------------------------------

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves the model, its score layer in float32 whatever the engine trains it in."""
        self._score = float32_score(self.accelerator.unwrap_model(self.model)) if self.is_deepspeed_enabled else {}
        super().save_model(output_dir, _internal_call)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """As the Trainer's, but what is trained stays in its dtype: PEFT 0.21 makes an adapter that it loads float32."""
        target = self.model if model is None else model
        dtypes = {name: parameter.dtype for name, parameter in target.named_parameters()}
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for name, parameter in target.named_parameters():
            if parameter.dtype != dtypes[name]:
                parameter.data = parameter.data.to(dtypes[name])

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, None if state_dict is None else {**state_dict, **self._score})
        # Transformers 5.23 pickles its arguments beside the model: no pickle is kept, and no path of this machine.
        Path(output_dir or str(self.args.output_dir), TRAINING_ARGS_NAME).unlink(missing_ok=True)

    # -- what is seen -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _note(self, batch: Any, rewards: torch.Tensor, margin: torch.Tensor, log_probs: torch.Tensor) -> None:
        real, padded = batch["tokens"]
        self._figures.add(figures_of(log_probs, batch["labels"], margin) | figures_of_rewards(rewards))
        self._metrics["train"]["padding_share"].append(1 - real / padded)
        assert self._throughput is not None
        self._throughput.add(real, len(batch["labels"]))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training and self._throughput is not None and "loss" in logs:
            logs.update(self._throughput.rates(self.args.world_size))
            self._throughput = None
            for name, values in self._figures.take().items():
                self._metrics["train"][name].extend(values)
        super().log(logs, start_time)

    # -- evaluation ---------------------------------------------------------------------------------------------

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Log-probabilities float32 [battles, 3] in the order of the dataset, the same on any number of processes."""
        model = self._wrap_model(self.model, training=False, dataloader=dataloader)
        if self.is_deepspeed_enabled and self.deepspeed is None and model is self.model:
            model = self.accelerator.prepare_model(model, evaluation_mode=True)
        was_training = model.training
        model.eval()
        kept: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        try:
            with self._reading():
                for batch in self._each(dataloader):
                    with torch.no_grad(), self.compute_loss_context_manager():
                        rewards = self.rewards(model, batch)
                        margin, tie_strength = margins(rewards, self.encoding, self._grounded_link)
                    kept.append((batch["index"], margin.float(), tie_strength.float()))
        finally:
            model.train(was_training)
        # Fetched when all is read: each fetch makes a GPU wait.
        parts = [(index.tolist(), margin.cpu().numpy(), tie.cpu().numpy()) for index, margin, tie in kept]
        if self.args.world_size > 1:
            parts = gather_object(parts)
        return evaluation_output(parts, dataloader.dataset, self.args.tie_link, metric_key_prefix)

    def _each(self, dataloader: DataLoader) -> Iterator[dict[str, Any]]:
        for batch in dataloader:
            yield self._prepare_inputs(batch)
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
