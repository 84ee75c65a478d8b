"""The siamese DeBERTa-v3 system of the LMSYS competition, as it was meant.

    one backbone reads [prompt, A] and [prompt, B]; hidden states are averaged over tokens
    fourteen length features a side go through a dense layer
    [A's state, A's lengths, B's state, B's lengths] -> A, B, tie

Its public code concatenates side A twice, so it never sees B, and its adversarial weight perturbation is noise that is
never taken back. Here both sides are read, the head is trained on and asked about both orders of the same two states
(at no further cost), perturbed weights are restored (`reward_model.train.adversarial`), labels are smoothed, and a
temperature calibrates.

Source: Reimers & Gurevych (2019), "Sentence-BERT", section 3 (mean pooling, concatenation); Wu, Xia & Wang (2020), eq. 10;
Szegedy et al. (2016), section 7 (label smoothing).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np
import torch
from safetensors.torch import load_file, save
from transformers import AutoModel, PreTrainedTokenizerBase, Trainer
from transformers.modeling_outputs import SequenceClassifierOutput

from arena_data.file_io import write_bytes_atomically
from arena_data.style.lengths import LENGTH_FEATURES, length_features
from reward_model.baselines.base import TEXT_VERSIONS, FloatArray, verdicts_of
from reward_model.baselines.neural.base import Neural
from reward_model.baselines.swap import TURNED
from reward_model.model.device import default_device
from reward_model.model.losses import cross_entropy
from reward_model.model.pretrained import UNREAD, load_pretrained
from reward_model.tokens.encodings import SEPARATE
from reward_model.tokens.tokenizer import load_tokenizer
from reward_model.train.adversarial import perturbed

BACKBONE, HEAD = "backbone", "head.safetensors"
DENSE = 32


class SiameseModel(torch.nn.Module):
    """Two sides to log-probabilities, the mean of both orders."""

    def __init__(self, backbone: Any, hidden: int, label_smoothing: float = 0.0):
        super().__init__()
        self.length_mean: torch.Tensor
        self.length_spread: torch.Tensor
        self.backbone, self.config, self.label_smoothing = backbone, backbone.config, label_smoothing
        self.register_buffer("length_mean", torch.zeros(len(LENGTH_FEATURES)))
        self.register_buffer("length_spread", torch.ones(len(LENGTH_FEATURES)))
        self.lengths = torch.nn.Sequential(torch.nn.Linear(len(LENGTH_FEATURES), DENSE), torch.nn.GELU())
        self.head = torch.nn.Linear(2 * (hidden + DENSE), 3)

    def side(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """float32 [n, hidden + DENSE]: mean over real tokens, then what the lengths become."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        mask = attention_mask[..., None].float()
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
        scaled = ((lengths - self.length_mean) / self.length_spread).clamp(-8, 8)
        return torch.cat([mean, self.lengths(scaled).float()], dim=1)

    def orders(self, a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities [n, 3] of (A, B, tie) from the head's answers to (A, B) and to (B, A), turned back."""
        first, second = self.side(**a), self.side(**b)
        given, turned = (self.head(torch.cat(pair, dim=1)).float() for pair in ((first, second), (second, first)))
        return torch.log_softmax(given, dim=1), torch.log_softmax(turned, dim=1)[:, TURNED]

    def forward(
        self, a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], labels: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        given, turned = self.orders(a, b)
        loss: Any = None
        if labels is not None:
            both = torch.stack([cross_entropy(order, labels, self.label_smoothing) for order in (given, turned)])
            loss = both.mean()
        # Of the mean of probabilities, as everywhere here where a system is asked about both orders.
        mean = torch.logaddexp(given, turned)
        return SequenceClassifierOutput(loss=loss, logits=torch.log_softmax(mean, dim=1))


class AdversarialTrainer(Trainer):
    """The plain Trainer whose gradients are taken at the worst weights nearby, from the epoch `start` on."""

    def __init__(self, *arguments: Any, norm: float, start: float, **options: Any):
        super().__init__(*arguments, **options)
        self.norm, self.start = norm, start

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        if self.norm <= 0 or (self.state.epoch or 0) < self.start:
            return super().training_step(model, inputs, num_items_in_batch)
        prepared = self._prepare_inputs(inputs)
        inner = self.accelerator.unwrap_model(model)

        def loss() -> torch.Tensor:
            with self.compute_loss_context_manager():
                loss_of_batch = self.compute_loss(inner, prepared, num_items_in_batch=num_items_in_batch)
            assert isinstance(loss_of_batch, torch.Tensor)  # outputs were not asked for
            return loss_of_batch

        with perturbed(inner, loss, norm=self.norm, names=r"\.weight$"):
            return super().training_step(model, inputs, num_items_in_batch)


@dataclass
class Siamese(Neural):
    kind: ClassVar[str] = "siamese"
    versions: ClassVar[dict[str, int]] = TEXT_VERSIONS
    calibration_method: ClassVar[str] = "temperature"
    __doc__ = (
        (Neural.__doc__ or "").replace(
            "A system on a pretrained backbone", "Both sides by one backbone, lengths beside"
        )
        + """    label_smoothing_factor: share of the uniform distribution in each verdict.
        adversarial_norm: of the weights' perturbation, relative to each weight's own; 0 is none.
        adversarial_start: epoch from which weights are perturbed, at the cost of a second pass a step.
    """
    )
    label_smoothing_factor: float = 0.05
    adversarial_norm: float = 1e-3
    adversarial_start: float = 1.0

    def new_model(self, tokenizer: PreTrainedTokenizerBase) -> SiameseModel:
        backbone, _ = load_pretrained(AutoModel, self.model_name_or_path, new=UNREAD, dtype=torch.float32)
        return SiameseModel(backbone, backbone.config.get_text_config().hidden_size, self.label_smoothing_factor)

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        self.start()
        ids, lengths = self.encode(battles, SEPARATE), side_lengths(battles)
        both = torch.tensor(np.concatenate([lengths["a"], lengths["b"]]))
        self.model.length_mean.copy_(both.mean(dim=0))
        self.model.length_spread.copy_(both.std(dim=0, correction=0).clamp_min(1e-3))
        rows = datasets.Dataset.from_dict(
            {f"input_ids_{side}": ids[side] for side in "ab"}
            | {f"lengths_{side}": lengths[side] for side in "ab"}
            | {"labels": verdicts_of(battles).astype(np.float32)}
            | {"length": [max(map(len, pair)) for pair in zip(ids["a"], ids["b"], strict=True)]}
        )
        options = {"norm": self.adversarial_norm, "start": self.adversarial_start}
        self.train(rows, self._batch, AdversarialTrainer, **options)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        ids, lengths = self.encode(battles, SEPARATE), side_lengths(battles)
        longest = [max(map(len, pair)) for pair in zip(ids["a"], ids["b"], strict=True)]

        def answer(chosen: list[int]) -> torch.Tensor:
            sides = {
                side: {
                    **self.padded([ids[side][row] for row in chosen]),
                    "lengths": torch.tensor(lengths[side][chosen]),
                }
                for side in "ab"
            }
            device = self.model.head.weight.device
            for side in sides.values():
                side["lengths"] = side["lengths"].to(device)
            logits: torch.Tensor = self.model(**sides).logits
            return logits

        return self.in_batches(np.asarray(longest, dtype=np.int64), answer)

    def _batch(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = {"labels": torch.tensor([row["labels"] for row in rows], dtype=torch.float32)}
        for side in "ab":
            padded = self.tokenizer.pad({"input_ids": [row[f"input_ids_{side}"] for row in rows]}, return_tensors="pt")
            batch[side] = {name: padded[name] for name in ("input_ids", "attention_mask")}
            batch[side]["lengths"] = torch.tensor([row[f"lengths_{side}"] for row in rows], dtype=torch.float32)
        return batch

    def save_state(self, directory: Path) -> None:
        self.model.backbone.save_pretrained(directory / BACKBONE)
        self.tokenizer.save_pretrained(directory / BACKBONE)
        own = {name: value for name, value in self.model.state_dict().items() if not name.startswith("backbone.")}
        write_bytes_atomically(directory / HEAD, save({name: value.contiguous().cpu() for name, value in own.items()}))

    def load_state(self, directory: Path) -> None:
        self.tokenizer = load_tokenizer(str(directory / BACKBONE))
        backbone, _ = load_pretrained(AutoModel, directory / BACKBONE, dtype=torch.float32)
        self.model = SiameseModel(backbone, backbone.config.get_text_config().hidden_size)
        own = load_file(directory / HEAD)
        absent, unknown = self.model.load_state_dict(own, strict=False)
        if unknown or any(not name.startswith("backbone.") for name in absent):
            raise ValueError(f"{HEAD} does not hold this head")
        self.model.to(default_device()).eval()


def side_lengths(battles: datasets.Dataset) -> dict[str, np.ndarray]:
    """float32 [n, 14] for each side, `arena_data.style.lengths`."""
    features = {}
    for side in "ab":
        columns = zip(battles["prompt"], battles[f"response_{side}"], strict=True)
        texts = [[[turn or "" for turn in turns] for turns in pair] for pair in columns]
        rows = [list(length_features(*pair).values()) for pair in texts]
        features[side] = np.asarray(rows, dtype=np.float32).reshape(-1, len(LENGTH_FEATURES))
    return features
