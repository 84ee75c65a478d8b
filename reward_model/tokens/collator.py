"""Encoded battles to tensors: rows in groups of like length, each with its style features and its battle's verdict.

Battle i of a batch has two rows, i and i + battles; the first speaks for A and the second for B, whatever the encoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reward_model.tokens.encodings import SEPARATE, Encoding
from reward_model.tokens.layout import lay_out
from reward_model.tokens.token_budget import split_rows

# What a battle's source says of it: the fields of `reward_model.model.source_offsets.SourceInputs`.
SOURCE_COLUMNS = {
    "source": torch.int64,
    "weight": torch.float32,
    "tie_observed": torch.bool,
    "grade": torch.int64,
    "levels": torch.int64,
}


@dataclass(frozen=True)
class BattleCollator:
    """Rows of the training dataset to a batch of tensors.

    Each row has `input_ids_a`, `input_ids_b`, `index`, and maybe `labels` [3], `teacher` [3] (NaN where there is none),
    `both_bad` (NaN where it is not known), `style_a` [F], `style_b` [F], `pair` [F + 1]; those of mixed sources also what
    `SOURCE_COLUMNS` names.

    Returns a dict of
        groups: list of {input_ids int64 [rows, longest], attention_mask int64 [rows, longest], row int64 [rows],
            last int64 [rows], each row's last real token}; a group without rows holds one row of one token with
            row = -1, so that every batch has the same number of groups.
            With `padding_free` one group of all rows end to end, see `reward_model.tokens.layout.lay_out`; where it
            `shares`, a battle's two rows are read from their common beginning on
        labels, teacher: float32 [battles, 3]; both_bad: float32 [battles]
        style: float32 [2 * battles, F], pair: float32 [2 * battles, F + 1]
        source, grade, levels: int64 [battles]; tie_observed: bool [battles]; weight: float32 [battles]
        index: int64 [battles], the battles' places in the dataset
        tokens: `token_counts` of the batch

    Raises: ValueError for a row without tokens.
    """

    pad_token_id: int
    encoding: Encoding = SEPARATE
    padding_free: bool = False
    shares: bool = False

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        ids = [row["input_ids_a"] for row in rows] + [row["input_ids_b"] for row in rows]
        lengths = np.array([len(row) for row in ids])
        if not lengths.all():
            raise ValueError("a sequence has no token to pool")
        batch: dict[str, Any] = {
            "groups": [self._packed(ids)]
            if self.padding_free
            else [self._group(ids, group) for group in split_rows(lengths)],
            "index": torch.tensor([row["index"] for row in rows]),
        }
        batch["tokens"] = token_counts(batch)
        for name in ("labels", "teacher", "both_bad"):
            if name in rows[0]:
                batch[name] = torch.tensor(np.array([row[name] for row in rows]), dtype=torch.float32)
        for name, dtype in SOURCE_COLUMNS.items():
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows], dtype=dtype)
        if "style_a" in rows[0]:
            a, b, pair = (
                torch.tensor(np.array([row[name] for row in rows])) for name in ("style_a", "style_b", "pair")
            )
            batch["style"] = torch.cat(self.encoding.style_of_rows(a, b)).float()
            batch["pair"] = torch.cat([pair, pair]).float()
        return batch

    def _packed(self, ids: Sequence[Sequence[int]]) -> dict[str, Any]:
        # The two rows of a battle side by side: they begin with the same prompt.
        row = np.arange(len(ids)).reshape(2, -1).T.reshape(-1)
        return {**lay_out([ids[place] for place in row.tolist()], self.shares), "row": torch.tensor(row)}

    def _group(self, ids: Sequence[Sequence[int]], group: np.ndarray) -> dict[str, torch.Tensor]:
        chosen = [ids[row] for row in group] or [ids[0][:1]]
        longest = max(len(row) for row in chosen)
        input_ids = torch.full((len(chosen), longest), self.pad_token_id, dtype=torch.int64)
        attention_mask = torch.zeros_like(input_ids)
        for place, row in enumerate(chosen):
            input_ids[place, : len(row)] = torch.tensor(row)
            attention_mask[place, : len(row)] = 1
        rows = torch.tensor(group) if len(group) else torch.tensor([-1])
        last = torch.tensor([len(row) - 1 for row in chosen])
        return {"input_ids": input_ids, "attention_mask": attention_mask, "row": rows, "last": last}


def token_counts(batch: dict[str, Any]) -> tuple[int, int]:
    """(real tokens, tokens with padding) of a batch; the stand-in row of an empty group counts as padding.

    Where rows are read end to end there is no padding, and a beginning that two rows share is counted in both.
    """
    if "pieces" in batch["groups"][0]:
        real = sum(piece.shared + piece.end - piece.start for group in batch["groups"] for piece in group["pieces"])
        return real, real
    real = sum(int(g["attention_mask"][g["row"] >= 0].sum()) for g in batch["groups"])
    return real, sum(g["input_ids"].numel() for g in batch["groups"])
