"""What the two neural baselines share: their flags, a plain Trainer, and predictions in batches of like length."""

import tempfile
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed

from reward_model.baselines.base import Baseline, FloatArray
from reward_model.errors import ModelError, one_line
from reward_model.model.backbone import within_positions
from reward_model.model.device import default_device, keep_one_device
from reward_model.quiet import quiet_libraries
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import Encoding
from reward_model.tokens.tokenizer import load_tokenizer
from reward_model.train.progress import show_progress

WEIGHT_DECAY = 0.01
# Fewer battles than this are predicted without a bar.
_FEW = 200


@dataclass
class Neural(Baseline):
    """A system on a pretrained backbone.

    Args:
        model_name_or_path: directory or Hub id of the backbone.
        max_length: tokens of one side; a text with both answers may have twice as many.
        num_train_epochs, learning_rate, per_device_train_batch_size, seed: as for the Trainer.
        bf16: autocast to bfloat16; much slower than float32 on a processor that has none.
        dropout: keep the backbone's; off, training on a CPU takes a third of the time.
    """

    model_name_or_path: str
    max_length: int = 512
    num_train_epochs: float = 2.0
    learning_rate: float = 5e-5
    per_device_train_batch_size: int = 16
    bf16: bool = False
    dropout: bool = False
    seed: int = 0

    @abstractmethod
    def new_model(self, tokenizer: PreTrainedTokenizerBase) -> Any:
        """The backbone with a head that is yet to be learned."""

    def start(self) -> None:
        """Loads tokenizer and backbone. Raises: ModelError where they are not there or do not fit."""
        quiet_libraries()
        self.tokenizer = load_tokenizer(self.model_name_or_path)
        set_seed(self.seed)
        try:
            self.model = self.new_model(self.tokenizer)
        except ModelError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{self.model_name_or_path}: cannot be loaded ({one_line(error)})") from error
        if not self.dropout:
            for module in self.model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0

    def encode(self, battles: datasets.Dataset, encoding: Encoding) -> dict[str, list[list[int]]]:
        """Token ids of each side, or of both orders, cut as everywhere in this project."""
        if len(battles) == 0:
            return {"a": [], "b": []}
        limit = self.max_length * encoding.responses_in_row
        rows = BattleEncoder(self.tokenizer, within_positions(self.model, limit), encoding)(battles)
        return {side: list(rows[f"input_ids_{side}"]) for side in "ab"}

    def train(self, rows: datasets.Dataset, collator: Any, trainer: Callable[..., Trainer], **options: Any) -> None:
        """Trains `self.model` on rows with `labels` and `length`; no checkpoint is kept."""
        with tempfile.TemporaryDirectory() as directory:
            arguments = TrainingArguments(
                output_dir=directory,
                num_train_epochs=self.num_train_epochs,
                learning_rate=self.learning_rate,
                per_device_train_batch_size=self.per_device_train_batch_size,
                bf16=self.bf16,
                use_cpu=default_device().type == "cpu",
                warmup_steps=0.1,
                weight_decay=WEIGHT_DECAY,
                seed=self.seed,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                remove_unused_columns=False,
                train_sampling_strategy="group_by_length",
                length_column_name="length",
                dataloader_pin_memory=default_device().type == "cuda",
            )
            keep_one_device(arguments)
            text_trainer = trainer(
                model=self.model, args=arguments, train_dataset=rows, data_collator=collator, **options
            )
            show_progress(text_trainer)
            text_trainer.train()
        self.model.eval()

    def in_batches(
        self, lengths: np.ndarray, answer: Callable[[list[int]], torch.Tensor], batch_size: int = 32
    ) -> FloatArray:
        """float64 [n, 3]: what `answer` says of rows, longest first, rows of like length together."""
        order = np.argsort(-lengths, kind="stable")
        answers = np.zeros((len(lengths), 3))
        self.model.eval()
        device = next(self.model.parameters()).device
        with torch.no_grad(), tqdm(total=len(order), desc="Predicting", unit="text", disable=len(order) < _FEW) as bar:
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size].tolist()
                with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                    answers[chosen] = answer(chosen).double().cpu().numpy()
                bar.update(len(chosen))
        return answers

    def padded(self, ids: list[list[int]]) -> dict[str, torch.Tensor]:
        """input_ids and attention_mask, int64 [rows, longest], where the model is."""
        batch = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        device = next(self.model.parameters()).device
        return {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
