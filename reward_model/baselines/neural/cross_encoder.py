"""A BERT-style cross-encoder: plain sequence classification with three labels over [prompt, A, B], by the plain Trainer.

The most common neural notebook. Nothing in its head keeps it from learning a side, so it is trained on both orders of each
battle and asked about both. Verdicts may be soft: the loss is the cross-entropy to their shares.

Source: Devlin et al. (2019), "BERT", section 4.1; https://huggingface.co/docs/transformers/tasks/sequence_classification
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, PreTrainedTokenizerBase, Trainer

from reward_model.baselines.base import TEXT_VERSIONS, FloatArray, verdicts_of
from reward_model.baselines.neural.base import Neural
from reward_model.baselines.swap import TURNED, from_both_orders
from reward_model.model.backbone import set_pad_token
from reward_model.model.device import default_device
from reward_model.model.losses import cross_entropy
from reward_model.model.pretrained import head_names, load_pretrained
from reward_model.tokens.encodings import JOINT
from reward_model.tokens.tokenizer import load_tokenizer

MODEL = "model"


@dataclass
class CrossEncoder(Neural):
    kind: ClassVar[str] = "cross_encoder"
    versions: ClassVar[dict[str, int]] = TEXT_VERSIONS
    __doc__ = (Neural.__doc__ or "").replace("A system on a pretrained backbone", "Three labels over [prompt, A, B]")

    def new_model(self, tokenizer: PreTrainedTokenizerBase) -> Any:
        name = self.model_name_or_path
        model, _ = load_pretrained(
            AutoModelForSequenceClassification, name, new=head_names(name), num_labels=3, dtype=torch.float32
        )
        set_pad_token(model, tokenizer)
        return model

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        self.start()
        ids, verdicts = self.encode(battles, JOINT), verdicts_of(battles)
        both = [*ids["a"], *ids["b"]]
        rows = datasets.Dataset.from_dict(
            {
                "input_ids": both,
                "labels": np.concatenate([verdicts, verdicts[:, TURNED]]).astype(np.float32),
                "length": list(map(len, both)),
            }
        )
        self.train(rows, Padding(DataCollatorWithPadding(self.tokenizer)), Trainer, compute_loss_func=soft_loss)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        ids = self.encode(battles, JOINT)
        return from_both_orders(self._probabilities(ids["a"]), self._probabilities(ids["b"]))

    def _probabilities(self, ids: list[list[int]]) -> FloatArray:
        """float64 [n, 3]: the model's answers to one order."""

        def answer(chosen: list[int]) -> torch.Tensor:
            logits: torch.Tensor = self.model(**self.padded([ids[row] for row in chosen])).logits
            return torch.softmax(logits.float(), dim=1)

        return self.in_batches(np.asarray(list(map(len, ids)), dtype=np.int64), answer)

    def save_state(self, directory: Path) -> None:
        self.model.save_pretrained(directory / MODEL)
        self.tokenizer.save_pretrained(directory / MODEL)

    def load_state(self, directory: Path) -> None:
        self.tokenizer = load_tokenizer(str(directory / MODEL))
        self.model, _ = load_pretrained(AutoModelForSequenceClassification, directory / MODEL, dtype=torch.float32)
        self.model.to(default_device()).eval()


@dataclass(frozen=True)
class Padding:
    """Transformers' padding, of token ids and labels only: it cannot pad what it does not know."""

    pad: DataCollatorWithPadding

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self.pad([{"input_ids": row["input_ids"]} for row in rows])
        return {**batch, "labels": torch.tensor([row["labels"] for row in rows], dtype=torch.float32)}


def soft_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Mean cross-entropy of logits [n, 3] to shares [n, 3]."""
    return cross_entropy(torch.log_softmax(outputs.logits.float(), dim=1), labels).mean()
