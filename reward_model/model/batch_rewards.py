"""A batch of battles to the rewards of its rows: the same for every encoding, padded or read end to end."""

from typing import Any

import torch

from reward_model.model.packed.reader import PackedReader
from reward_model.model.score_layer import score_inputs


def batch_rewards(model: Any, batch: dict[str, Any], packed: PackedReader | None, *, caches: bool) -> torch.Tensor:
    """float32 [2, battles, 2]: (value, tie) of the first and second row of each battle.

    Where battles are graded, the gaps between their source's grades follow as further columns.

    Args:
        batch: as `reward_model.tokens.collator.BattleCollator` makes it, on the model's device.
        packed: reads the batch's one group end to end; None for padded groups.
        caches: the model would keep keys and values, and is told not to.
    """
    battles = len(batch["index"])
    rows: list[torch.Tensor] = []
    scores: list[torch.Tensor] = []
    for group in batch["groups"]:
        row = group["row"].clamp_min(0)
        style = batch["style"][row] if "style" in batch else None
        pair = batch["pair"][row] if "pair" in batch else None
        source = batch["source"][row % battles] if "source" in batch else None
        rows.append(group["row"])
        if packed is not None:
            scores.append(packed.logits(model, group, style, pair, source))
            continue
        inputs = {name: group[name] for name in ("input_ids", "attention_mask")}
        with score_inputs(model, positions=group["last"], style=style, pair=pair, source=source):
            scores.append(model(**inputs, use_cache=False).logits if caches else model(**inputs).logits)
    row, score = torch.cat(rows), torch.cat(scores).float()
    # Stand-in rows, -1, go last. Their scores are multiplied by nothing, but stay in the graph: every rank's backward is
    # alike. The number of real rows is known, so nothing here makes a GPU wait, as picking rows by a mask would.
    score = score[torch.argsort(torch.where(row >= 0, row, 2 * battles))]
    return score[: 2 * battles].reshape(2, battles, -1) + 0.0 * score[2 * battles :].sum()
