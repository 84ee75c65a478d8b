"""Battles to a training dataset: splits, token ids, style features on the scale of the training split, verdicts."""

import datasets
import numpy as np

from arena_data.style.features import PAIR_FEATURES, RESPONSE_FEATURES, StyleArrays, style_arrays
from reward_model.model.style_head import StyleScale
from reward_model.tokens.encoding import BattleEncoder


def training_rows(
    battles: datasets.Dataset,
    encoder: BattleEncoder,
    style: StyleArrays | None,
    scale: StyleScale | None,
    *,
    progress: bool = False,
) -> datasets.Dataset:
    """Rows as `reward_model.tokens.collator.BattleCollator` wants them, in the order of the battles."""
    rows = encoder(battles, progress=progress)
    columns: dict[str, object] = {
        "index": np.arange(len(rows)),
        "length_a": [len(ids) for ids in rows["input_ids_a"]],
        "length_b": [len(ids) for ids in rows["input_ids_b"]],
    }
    verdicts = battles["verdict"]
    if all(verdict is not None for verdict in verdicts):
        columns["labels"] = np.asarray(list(verdicts), dtype=np.float32).reshape(-1, 3).tolist()
    teachers = battles["teacher"]
    if any(teacher is not None for teacher in teachers):
        columns["teacher"] = [teacher if teacher is not None else [float("nan")] * 3 for teacher in teachers]
    if style is not None and scale is not None:
        columns["style_a"], columns["style_b"] = (scale.side.apply(side).tolist() for side in (style.a, style.b))
        columns["pair"] = scale.pair.apply(style.pair).tolist()
    extra = datasets.Dataset.from_dict(columns)
    return datasets.concatenate_datasets([rows, extra], axis=1)


def style_of(battles: datasets.Dataset, *, num_proc: int | None = None, progress: bool = False) -> StyleArrays:
    style = style_arrays(battles, num_proc=num_proc, progress=progress)
    if style.a.shape[1] != len(RESPONSE_FEATURES) or len(PAIR_FEATURES) != style.a.shape[1] + 1:
        raise ValueError("the style features have changed; bump STYLE_VERSION and train again")
    return style
