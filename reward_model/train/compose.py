"""A training run put together: the model, what it is trained on, where its score layer starts, and the trainer.

The one place where these parts meet, for the command as for the benchmarks. What can be refused of the model is refused
before a battle is tokenised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
from transformers import set_seed
from trl import ModelConfig

from arena_data.splits.both_bad import four_shares
from arena_data.style.features import RESPONSE_FEATURES
from reward_model.errors import ModelError
from reward_model.model.four_outcomes import start_of
from reward_model.model.score_layer import TieAwareScore, find_score_layer
from reward_model.tokens.encoding import BattleEncoder
from reward_model.train.build_model import load_model, lora_config
from reward_model.train.dataset import TrainingData, training_data, verdicts_of
from reward_model.train.four_start import start_four_from_style
from reward_model.train.initial_weights import StyleFit, fit_style, style_data, tie_bias_of
from reward_model.train.mixed_sources import MixedTraining, mix
from reward_model.train.settings.checks import check_vocabulary
from reward_model.train.settings.config import TieRewardConfig
from reward_model.train.sources import CV, ExtraBattles, Sources
from reward_model.train.trainer import TieRewardTrainer
from reward_model.train.warm_start import StyleCentre, WarmStart


@dataclass(frozen=True)
class TrainingRun:
    """Ready to train: `trainer.train()`.

    Args:
        trainer: holds the model and the encoded parts.
        data: what it is trained, validated and calibrated on.
        mixed: with the battles of other sources, or with grades; None where there are neither.
        style_fit: where the style head starts; None without one.
    """

    trainer: TieRewardTrainer
    data: TrainingData
    mixed: MixedTraining | None
    style_fit: StyleFit | None


def start_of_score(
    battles: datasets.Dataset, config: TieRewardConfig, sources: Sources | None = None
) -> tuple[float, float | None]:
    """The tie bias, and the absolute zero where both-bad is an outcome, that give the training part's shares.

    Raises: ModelError where both-bad is to be an outcome and no battle has it, or beside other sources or grades; for names
        of models beside other sources.
    """
    if config.outcomes == "four" and not (sources or Sources()).plain:
        raise ModelError("outcomes four is of our own battles without grades: leave out extra_file, add --grades none")
    if config.show_models and sources is not None and sources.names:
        raise ModelError("show_models is of our own battles, whose models have names: leave out extra_file")
    if config.outcomes == "three":
        return tie_bias_of(verdicts_of(battles).mean(axis=0), config.tie_link), None
    if not any(battles["both_bad"]):
        raise ModelError(
            "outcomes four: no training battle says that both responses are bad (winner tie (bothbad) or both_bad, or a"
            " column both_bad); use --outcomes three"
        )
    return start_of(four_shares(battles), config.tie_link)


def compose(
    battles: Mapping[str, datasets.Dataset],
    encoder: BattleEncoder,
    config: TieRewardConfig,
    model_arguments: ModelConfig,
    *,
    sources: Sources | None = None,
    extra: ExtraBattles | None = None,
    extra_weight: Sequence[str] = (CV,),
    warm_start: WarmStart | None = None,
    progress: bool = False,
) -> TrainingRun:
    """A run on these battles.

    Args:
        battles: `train`, `validation` and `calibration`, all with verdicts.
        encoder: with the tokenizer of `model_arguments` and the encoding of `config`.
        sources, extra: as `read_sources` gives them; our own battles without grades if None.
        extra_weight: what an extra battle counts, see `reward_model.train.sources.parse_weights`.
        warm_start: the run whose weights this one starts from; `model_arguments` name its backbone already.
        progress: whether to show bars.

    Raises: InputError for extra_weight, ModelError for a model that is not there or does not fit the settings.
    """
    tie_bias, zero = start_of_score(battles["train"], config, sources)
    set_seed(config.seed)  # The Trainer sets it only after the new layers were drawn.
    sources = sources or Sources()
    model = load_model(
        model_arguments,
        encoder.tokenizer,
        style_features=len(RESPONSE_FEATURES) if config.style else 0,
        tie_bias=tie_bias,
        sources=len(sources.names),
        grade_levels=sources.grade_levels,
        needs_head=config.init_from is not None and warm_start is None,
        zero=zero,
    )
    layer = find_score_layer(model)
    centre = warm_start.take_score(layer) if warm_start is not None else None
    check_vocabulary(model, encoder.tokenizer, encoder.max_length)
    peft_config = lora_config(model_arguments, model)
    data = training_data(battles, encoder, style=config.style, show_models=config.show_models, progress=progress)
    options: dict[str, Any] = {"link": config.tie_link, "weights": extra_weight, "progress": progress}
    mixed = None if sources.plain else mix(data, sources, extra, encoder, **options)
    style_fit: StyleFit | None = None
    if config.style and zero is not None:
        style_fit = start_four_from_style(layer, data, config.tie_link, (tie_bias, zero))
    elif config.style:
        style_fit = _start_from_style(layer, data, mixed, centre, config.tie_link)
    if warm_start is not None:
        warm_start.finish_ties(layer)
    trainer = TieRewardTrainer(
        model=model,
        args=config,
        train_dataset=data.train.rows if mixed is None else mixed.rows,
        eval_dataset=data.validation.rows,
        processing_class=encoder.tokenizer,
        peft_config=peft_config,
    )
    if warm_start is not None:
        warm_start.take_adapter(trainer.model)
    return TrainingRun(trainer, data, mixed, style_fit)


def _start_from_style(
    layer: TieAwareScore, data: TrainingData, mixed: MixedTraining | None, centre: StyleCentre | None, link: str
) -> StyleFit:
    """Fits style alone to the training battles' verdicts and puts the weights into the score layer."""
    assert data.scale is not None
    columns = mixed.style if mixed is not None else style_data(data.train, data.scale)
    assert columns is not None
    groups = mixed.groups if mixed is not None else data.train.groups
    # Another run's style may be of other battles altogether: it stays behind where our own battles are better without.
    centres = [None, *([] if centre is None else [centre.on_scale(data.scale)])]
    fits = [fit_style(columns, groups, link, tie_bias_of(data.prior, link), one) for one in centres]
    fitted = min(fits, key=lambda fit: fit.log_loss)
    fitted.copy_to(layer)
    return fitted
