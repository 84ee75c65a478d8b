"""Two answers read at once without seeing each other, and a few readout tokens a side that see both: an arm, not for use.

    block 0: text of side A, readouts        block 1: text of side B, readouts

Text sees the text of its own block. A block's readouts see its text and each other, and where the reading is `cross` the
other block's readouts too. Both blocks have the same positions, so exchanging sides exchanges blocks, and the margin
changes sign: swap-exact but for rounding, by one pass. `apart` lacks the crossing, and is what `separate` is; the blocks
of `joint` are [prompt, A, B] and [prompt, B, A], each as long as two sides: the swap averaged, at twice the cost.

Margin and tie strength start at those of the style regression, as our own model's do.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np
import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedTokenizerBase, Trainer
from transformers.modeling_outputs import SequenceClassifierOutput

from reward_model.baselines.base import FloatArray, verdicts_of
from reward_model.baselines.neural.base import WEIGHT_DECAY, Neural
from reward_model.baselines.regression.style import StyleRegression
from reward_model.model.losses import cross_entropy
from reward_model.model.pretrained import UNREAD, load_pretrained
from reward_model.model.tie_links import from_probabilities, log_probabilities
from reward_model.tokens.encodings import ENCODINGS, SEPARATE

READINGS = ("apart", "cross", "joint")
# How many times faster the new layer learns than the backbone.
FASTER = 10.0
_LAYER = re.compile(r"\.layers?\.(\d+)\.")


class Reader(nn.Module):
    """A backbone and linear layers on what it makes of a block: the means of its text and of its readouts."""

    def __init__(self, backbone: Any):
        super().__init__()
        self.backbone, self.config = backbone, backbone.config  # the Trainer asks for a config
        width = 2 * backbone.config.hidden_size
        self.value, self.tie = nn.Linear(width, 1, bias=False), nn.Linear(width, 1)
        for parameter in (*self.value.parameters(), *self.tie.parameters()):
            nn.init.zeros_(parameter)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        pooling: Tensor,
        start: Tensor,
        labels: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """attention_mask: bool [n, 1, T, T]; pooling: float [n, block, text or readouts, T]; start: float [n, 2]."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids)
        pooled = torch.einsum("nbkt,nth->nbkh", pooling, states.last_hidden_state.float()).flatten(2)
        value, tie = (FASTER * layer(pooled).float()[..., 0] for layer in (self.value, self.tie))
        margin, tie_strength = start[:, 0] + value[:, 0] - value[:, 1], start[:, 1] + tie.mean(dim=1)
        logits: Any = log_probabilities(margin, tie_strength, "davidson")
        loss: Any = None if labels is None else cross_entropy(logits, labels).mean()
        return SequenceClassifierOutput(loss=loss, logits=logits)


@dataclass
class CrossReading(Neural):
    kind: ClassVar[str] = "cross_reading"
    __doc__ = (
        (Neural.__doc__ or "").replace("A system on a pretrained backbone", "Two blocks of text with readouts")
        + """    reading: `apart`, `cross` or `joint`.
        readouts: tokens a block.
        layer_decay: learning rate of a layer of the backbone, as a share of that of the layer above it.
    """
    )
    reading: str = "cross"
    readouts: int = 4
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.reading not in READINGS:
            raise ValueError(f"reading is {self.reading!r}; expected one of {', '.join(READINGS)}")

    def new_model(self, tokenizer: PreTrainedTokenizerBase) -> Reader:
        # The other attentions do not take a mask of which token sees which.
        backbone, _ = load_pretrained(
            AutoModel, self.model_name_or_path, new=UNREAD, dtype=torch.float32, attn_implementation="sdpa"
        )
        return Reader(backbone)

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        self.start()
        self.style = StyleRegression()
        self.style.fit(battles)
        rows = self._rows(battles)
        labelled = rows.add_column("labels", verdicts_of(battles).tolist())
        self.train(labelled, self._batch, Trainer, optimizers=(self._optimizer(), None))

    def _optimizer(self) -> torch.optim.Optimizer:
        """The Trainer's own, AdamW, with a learning rate for every layer (Howard & Ruder 2018, section 3.2)."""
        depth = 1 + max(int(found[1]) for name, _ in self.model.named_parameters() if (found := _LAYER.search(name)))
        groups = []
        for name, parameter in self.model.named_parameters():
            found = _LAYER.search(name)
            # 0: the embeddings; depth + 1: what is new.
            layer = int(found[1]) + 1 if found else 0 if ".embeddings." in name else depth + 1
            decay = 0.0 if parameter.ndim == 1 else WEIGHT_DECAY
            rate = self.learning_rate * self.layer_decay ** (depth + 1 - layer)
            groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
        return torch.optim.AdamW(groups, lr=self.learning_rate)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        rows = self._rows(battles)

        def answer(chosen: list[int]) -> Tensor:
            logits: Tensor = self.model(**self._batch([rows[row] for row in chosen])).logits
            return logits

        return self.in_batches(np.asarray(rows["length"]), answer)

    def _rows(self, battles: datasets.Dataset) -> datasets.Dataset:
        ids = self.encode(battles, ENCODINGS.get(self.reading, SEPARATE))
        probabilities = torch.from_numpy(np.exp(self.style.log_probabilities(battles)))
        start = torch.stack(from_probabilities(probabilities, "davidson"), dim=1).tolist()
        length = [len(first) + len(second) for first, second in zip(ids["a"], ids["b"], strict=True)]
        return datasets.Dataset.from_dict({**ids, "start": start, "length": length})

    def _batch(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        longest = max(row["length"] for row in rows) + 2 * self.readouts
        token = self.tokenizer.cls_token_id
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id)
        positions = torch.zeros_like(ids)
        block, readout = torch.full_like(ids, -1), torch.zeros_like(ids, dtype=torch.bool)
        for index, row in enumerate(rows):
            texts = [row["a"], row["b"]]
            one = torch.cat([torch.tensor([*text, *[token] * self.readouts]) for text in texts])
            sizes = [len(text) + self.readouts for text in texts]
            ids[index, : len(one)] = one
            positions[index, : len(one)] = torch.cat([torch.arange(size) for size in sizes])
            block[index, : len(one)] = torch.repeat_interleave(torch.arange(2), torch.tensor(sizes))
            readout[index, : len(one)] = positions[index, : len(one)] >= torch.repeat_interleave(
                torch.tensor([len(text) for text in texts]), torch.tensor(sizes)
            )
        same = (block[:, :, None] == block[:, None, :]) & (block >= 0)[:, None, :]
        sees = same & (~readout[:, None, :] | readout[:, :, None])
        if self.reading == "cross":
            sees |= readout[:, :, None] & readout[:, None, :]
        sees |= torch.eye(longest, dtype=torch.bool)  # padding sees itself: a mean over nothing is not a number
        parts = [(block == side) & kind for side in (0, 1) for kind in (~readout, readout)]
        pooling = torch.stack(parts, dim=1).float()
        pooling = (pooling / pooling.sum(dim=2, keepdim=True)).reshape(len(rows), 2, 2, longest)
        batch = {"input_ids": ids, "attention_mask": sees[:, None], "position_ids": positions, "pooling": pooling}
        batch["start"] = torch.tensor([row["start"] for row in rows])
        if "labels" in rows[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in rows])
        device = next(self.model.parameters()).device
        return {name: values.to(device) for name, values in batch.items()}

    def save_state(self, directory: Path) -> None:
        save_model(self.model, str(directory / "model.safetensors"))

    def load_state(self, directory: Path) -> None:
        raise NotImplementedError("an arm of an experiment is not read again")
