"""Our own battles and those of other sources as one training set, each battle with its source, weight and grade.

What a battle of another source counts is given, or chosen by cross-validation of the fit of style alone on our own
battles: a network for each choice would cost days, that fit costs seconds. Each source is tried by itself beside ours.
A source that counts 0 is left out before a text is tokenised.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
import torch

from arena_data.style.features import StyleArrays
from reward_model.model.source_offsets import SourceInputs
from reward_model.tokens.encoding import BattleEncoder
from reward_model.train.dataset import TrainingData, TrainingPart, style_of, training_rows
from reward_model.train.initial_weights import StyleData, fit_style, held_out_loss, style_data, tie_bias_of
from reward_model.train.sources import ExtraBattles, Sources, parse_weights

EXTRA_WEIGHTS = (0.0, 0.1, 0.5)


@dataclass(frozen=True)
class MixedTraining:
    """What a run trains on.

    Args:
        rows: of our own battles, then of the others, as `BattleCollator` wants them.
        sources: with the weights that are used.
        extra: the battles of other sources that count.
        style: what the fit of style reads of `rows`; None without a style head.
        groups: [n], of `rows`.
        by_cross_validation: names of the sources whose weight was chosen.
    """

    rows: datasets.Dataset
    sources: Sources
    extra: ExtraBattles | None
    style: StyleData | None
    groups: list[str]
    by_cross_validation: tuple[str, ...] = ()


def mix(
    data: TrainingData,
    sources: Sources,
    extra: ExtraBattles | None,
    encoder: BattleEncoder,
    *,
    link: str,
    weights: Sequence[str],
    progress: bool = False,
) -> MixedTraining:
    """The training part of `data` with the battles of other sources.

    Args:
        link: `davidson` or `rao_kupper`.
        weights: as `parse_weights` reads them.

    Raises: InputError for weights that are not right, or that are to be chosen without a style head.
    """
    own, scale = data.train, data.scale
    own_inputs = sources.inputs(own.battles, np.zeros(len(own.battles), dtype=np.int64))
    own_style = None if scale is None else style_data(own, scale)
    own_rows = _with_columns(own.rows, own_inputs)
    own_style = None if own_style is None else _with_sources(own_style, own_inputs, sources)
    if extra is None:
        return MixedTraining(own_rows, sources, None, own_style, own.groups)
    given = parse_weights(weights, sources.names)
    unknown = tuple(name for name, weight in given.items() if weight is None)
    counted = None if scale is None else style_of(extra.battles, progress=progress)
    if unknown:
        if own_style is None or counted is None or scale is None:
            raise ValueError("--extra_weight cv compares fits of style, and there is no style head; give a number")
        others = style_data(TrainingPart(extra.battles, extra.battles, counted), scale)
        tie_bias = tie_bias_of(data.prior, link)
        chosen = choose_weights(style_data(own, scale), others, own.groups, sources, extra, unknown, link, tie_bias)
        given |= dict(zip(unknown, chosen, strict=True))
    sources = replace(sources, weights=(1.0, *(float(given[name] or 0.0) for name in sources.names)))
    counts = np.array(sources.weights)[extra.source] > 0
    kept = extra.rows(counts)
    if not counts.any():
        return MixedTraining(own_rows, sources, kept, own_style, own.groups, unknown)
    kept_style = (
        None if counted is None else StyleArrays(counted.a[counts], counted.b[counts], counted.similarity[counts])
    )
    more = training_rows(kept.battles, encoder, kept_style, scale, progress=progress)
    inputs = sources.inputs(kept.battles, kept.source)
    rows = _joined(own_rows, _with_columns(more, inputs))
    style = None
    if own_style is not None and scale is not None:
        both = _stacked(own_style, style_data(TrainingPart(kept.battles, more, kept_style), scale))
        style = _with_sources(both, _stacked_inputs(own_inputs, inputs), sources)
    groups = [*own.groups, *kept.battles["group"]]
    return MixedTraining(rows, sources, kept, style, groups, unknown)


def choose_weights(
    own: StyleData,
    others: StyleData,
    own_groups: Sequence[str],
    sources: Sources,
    extra: ExtraBattles,
    names: Sequence[str],
    link: str,
    tie_bias: float,
) -> list[float]:
    """For each of the named sources the weight of `EXTRA_WEIGHTS` with the best cross-validated log loss on our own.

    Args:
        own, others: style of our own battles and of all of `extra`.
        own_groups: of our own battles.
    """
    alone = fit_style(own, own_groups, link, tie_bias)
    own_inputs = _plain_inputs(len(own.verdicts))
    chosen = []
    for name in names:
        place = sources.names.index(name) + 1
        rows = torch.from_numpy(extra.source == place)
        groups = [*own_groups, *np.asarray(extra.battles["group"])[rows.numpy()]]
        losses = [(alone.log_loss, 0.0)]
        for weight in EXTRA_WEIGHTS[1:] if rows.any() else ():
            inputs = _plain_inputs(int(rows.sum()), 1, weight, sources.tie_observed[place])
            both = _stacked(own, others.rows(rows))._replace(inputs=_stacked_inputs(own_inputs, inputs), sources=1)
            losses.append((held_out_loss(both, groups, link, tie_bias, alone.penalty), weight))
        chosen.append(min(losses)[1])
    return chosen


def _plain_inputs(count: int, source: int = 0, weight: float = 1.0, tie_observed: bool = True) -> SourceInputs:
    values = (source, weight, tie_observed, 0, 0)
    return SourceInputs(*(torch.tensor([value] * count) for value in values))


def _stacked_inputs(first: SourceInputs, second: SourceInputs) -> SourceInputs:
    return SourceInputs(*(torch.cat(pair) for pair in zip(first, second, strict=True)))


def _stacked(first: StyleData, second: StyleData) -> StyleData:
    """Rows of both, without what their sources say."""
    pairs = ((first.difference, second.difference), (first.pair, second.pair), (first.verdicts, second.verdicts))
    difference, pair, verdicts = (torch.cat(both) for both in pairs)
    return StyleData(difference, pair, verdicts)


def _with_sources(style: StyleData, inputs: SourceInputs, sources: Sources) -> StyleData:
    return style._replace(inputs=inputs, sources=len(sources.names), levels=sources.grade_levels)


def _with_columns(rows: datasets.Dataset, inputs: SourceInputs) -> datasets.Dataset:
    columns = {name: values.tolist() for name, values in inputs._asdict().items()}
    return datasets.concatenate_datasets([rows, datasets.Dataset.from_dict(columns)], axis=1)


def _joined(own: datasets.Dataset, more: datasets.Dataset) -> datasets.Dataset:
    """Rows of both with the same columns; places go on where our own end, and who has no teacher gets NaN."""

    def complete(rows: datasets.Dataset, other: datasets.Dataset, first: int) -> datasets.Dataset:
        columns: dict[str, Any] = {"index": np.arange(first, first + len(rows))}
        if "teacher" in other.column_names and "teacher" not in rows.column_names:
            columns["teacher"] = [[float("nan")] * 3] * len(rows)
        rows = rows.remove_columns("index")
        return datasets.concatenate_datasets([rows, datasets.Dataset.from_dict(columns)], axis=1)

    first, second = complete(own, more, 0), complete(more, own, len(own))
    return datasets.concatenate_datasets([first, second.select_columns(first.column_names)])
