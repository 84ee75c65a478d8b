"""Battles to a training dataset: splits, token ids, style features on the scale of the training split, verdicts."""

from dataclasses import dataclass

import datasets
import numpy as np

from arena_data.style.features import PAIR_FEATURES, RESPONSE_FEATURES, StyleArrays, pair_array, style_arrays
from reward_model.encoding import BattleEncoder


@dataclass(frozen=True)
class StyleScale:
    """Mean and spread of the style features in the training split; what the style head's weights refer to.

    side_mean, side_scale: float32 [F]; pair_mean, pair_scale: float32 [F + 1].
    """

    side_mean: np.ndarray
    side_scale: np.ndarray
    pair_mean: np.ndarray
    pair_scale: np.ndarray

    @staticmethod
    def of(style: StyleArrays) -> "StyleScale":
        sides, pair = np.concatenate([style.a, style.b]), pair_array(style)
        # A feature that never varied in training says nothing: so wide a scale that it stays at 0.
        scales = [np.where(x.std(axis=0) > 1e-6, x.std(axis=0), 1e6).astype(np.float32) for x in (sides, pair)]
        return StyleScale(sides.mean(axis=0), scales[0], pair.mean(axis=0), scales[1])

    def sides(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.side_mean) / self.side_scale, -8, 8).astype(np.float32)

    def pairs(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.pair_mean) / self.pair_scale, -8, 8).astype(np.float32)


def training_rows(
    battles: datasets.Dataset,
    encoder: BattleEncoder,
    style: StyleArrays | None,
    scale: StyleScale | None,
    *,
    progress: bool = False,
) -> datasets.Dataset:
    """Rows as `reward_model.batch.BattleCollator` wants them, in the order of the battles."""
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
        columns["style_a"], columns["style_b"] = scale.sides(style.a).tolist(), scale.sides(style.b).tolist()
        columns["pair"] = scale.pairs(pair_array(style)).tolist()
    extra = datasets.Dataset.from_dict(columns)
    return datasets.concatenate_datasets([rows, extra], axis=1)


def style_of(battles: datasets.Dataset, *, num_proc: int | None = None, progress: bool = False) -> StyleArrays:
    style = style_arrays(battles, num_proc=num_proc, progress=progress)
    if style.a.shape[1] != len(RESPONSE_FEATURES) or len(PAIR_FEATURES) != style.a.shape[1] + 1:
        raise ValueError("the style features have changed; bump STYLE_VERSION and train again")
    return style
