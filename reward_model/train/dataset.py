"""Battles to what a run trains on: three parts, each with its battles, its rows of token ids and its style.

Style features stand on the scale of the training part, since that is all that a run may learn from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.splits.both_bad import both_bad_of
from arena_data.splits.training_parts import TrainingParts
from arena_data.style.features import PAIR_FEATURES, RESPONSE_FEATURES, StyleArrays, style_arrays
from arena_data.transcripts.model_names import with_model_names
from reward_model.model.style_head import StyleScale
from reward_model.tokens.encoding import BattleEncoder


@dataclass(frozen=True)
class TrainingPart:
    """One part of the battles, row by row in the same order.

    Args:
        battles: as they were read.
        rows: as `reward_model.tokens.collator.BattleCollator` wants them.
        style: as it was counted; None where the model has no style head.
    """

    battles: datasets.Dataset
    rows: datasets.Dataset
    style: StyleArrays | None

    @property
    def verdicts(self) -> npt.NDArray[np.float64]:
        """float64 [n, 3]: shares of A, B and tie."""
        return verdicts_of(self.battles)

    @property
    def groups(self) -> list[str]:
        """[n]: battles of one prompt are in one group."""
        return list(self.battles["group"])


@dataclass(frozen=True)
class TrainingData:
    """All that a run reads: what it is trained on, what picks its checkpoint, what calibration is fitted on.

    Args:
        scale: of the training part's style; None where the model has no style head.
        prior: float64 [3], the training part's shares of A, B and tie.
        links: `arena_data.splits.linking.Links` as JSON, where the parts come with it.
    """

    train: TrainingPart
    validation: TrainingPart
    calibration: TrainingPart
    scale: StyleScale | None
    prior: npt.NDArray[np.float64]
    links: dict[str, Any] | None = None


def training_data(
    battles: Mapping[str, datasets.Dataset],
    encoder: BattleEncoder,
    *,
    style: bool,
    show_models: bool = False,
    progress: bool = False,
) -> TrainingData:
    """Style counted, texts cut fairly and tokenised; no row is dropped.

    Args:
        battles: `train`, `validation` and `calibration`, all with verdicts.
        style: count the style features, for a style head.
        show_models: write the models' names into what is read; verdicts, groups and style are of the battles as they are.
        progress: whether to show bars.
    """
    read = {name: with_model_names(part) if show_models else part for name, part in battles.items()}
    counted = {name: style_of(part, progress=progress) if style else None for name, part in battles.items()}
    known = counted["train"]
    scale = None if known is None else StyleScale.of(known)
    parts = {
        name: TrainingPart(
            part, training_rows(read[name], encoder, counted[name], scale, progress=progress), counted[name]
        )
        for name, part in battles.items()
    }
    links = battles.links.to_json() if isinstance(battles, TrainingParts) else None
    return TrainingData(**parts, scale=scale, prior=verdicts_of(battles["train"]).mean(axis=0), links=links)


def verdicts_of(battles: datasets.Dataset) -> npt.NDArray[np.float64]:
    """float64 [n, 3], of labelled battles."""
    return np.asarray(list(battles["verdict"]), dtype=np.float64).reshape(-1, 3)


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
    if all(verdict is not None for verdict in battles["verdict"]):
        columns["labels"] = verdicts_of(battles).astype(np.float32).tolist()
        columns["both_bad"] = both_bad_of(battles).astype(np.float32)
    teachers = battles["teacher"]
    if any(teacher is not None for teacher in teachers):
        columns["teacher"] = [teacher if teacher is not None else [float("nan")] * 3 for teacher in teachers]
    if style is not None and scale is not None:
        columns["style_a"], columns["style_b"] = (side.tolist() for side in scale.sides(style))
        columns["pair"] = scale.pairs(style).tolist()
    extra = datasets.Dataset.from_dict(columns)
    return datasets.concatenate_datasets([rows, extra], axis=1)


def style_of(battles: datasets.Dataset, *, num_proc: int | None = None, progress: bool = False) -> StyleArrays:
    """Style of battles. Raises: ValueError where the features are not those that this code trains with."""
    style = style_arrays(battles, num_proc=num_proc, progress=progress)
    if style.a.shape[1] != len(RESPONSE_FEATURES) or len(PAIR_FEATURES) != style.a.shape[1] + 1:
        raise ValueError("the style features have changed; bump STYLE_VERSION and train again")
    return style
