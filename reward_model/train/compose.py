"""A training run put together: the model, what it is trained on, where its score layer starts, and the trainer.

The one place where these parts meet, for the command as for the benchmarks. What can be refused of the model is refused
before a battle is tokenised.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import datasets
from transformers import set_seed
from trl import ModelConfig

from arena_data.style.features import RESPONSE_FEATURES
from reward_model.model.score_layer import find_score_layer
from reward_model.tokens.encoding import BattleEncoder
from reward_model.train.build_model import load_model, lora_config
from reward_model.train.dataset import TrainingData, training_data, verdicts_of
from reward_model.train.initial_weights import StyleFit, start_from_style, tie_bias_of
from reward_model.train.settings.checks import check_vocabulary
from reward_model.train.settings.config import TieRewardConfig
from reward_model.train.trainer import TieRewardTrainer


@dataclass(frozen=True)
class TrainingRun:
    """Ready to train: `trainer.train()`.

    Args:
        trainer: holds the model and the encoded parts.
        data: what it is trained, validated and calibrated on.
        style_fit: where the style head starts; None without one.
    """

    trainer: TieRewardTrainer
    data: TrainingData
    style_fit: StyleFit | None


def compose(
    battles: Mapping[str, datasets.Dataset],
    encoder: BattleEncoder,
    config: TieRewardConfig,
    model_arguments: ModelConfig,
    *,
    progress: bool = False,
) -> TrainingRun:
    """A run on these battles.

    Args:
        battles: `train`, `validation` and `calibration`, all with verdicts.
        encoder: with the tokenizer of `model_arguments` and the encoding of `config`.
        progress: whether to show bars.

    Raises: ModelError for a model that is not there or does not fit the settings.
    """
    set_seed(config.seed)  # The Trainer sets it only after the new layers were drawn.
    model = load_model(
        model_arguments,
        encoder.tokenizer,
        style_features=len(RESPONSE_FEATURES) if config.style else 0,
        tie_bias=tie_bias_of(verdicts_of(battles["train"]).mean(axis=0), config.tie_link),
    )
    check_vocabulary(model, encoder.tokenizer, encoder.max_length)
    peft_config = lora_config(model_arguments, model)
    data = training_data(battles, encoder, style=config.style, progress=progress)
    style_fit = start_from_style(find_score_layer(model), data, config.tie_link) if config.style else None
    trainer = TieRewardTrainer(
        model=model,
        args=config,
        train_dataset=data.train.rows,
        eval_dataset=data.validation.rows,
        processing_class=encoder.tokenizer,
        peft_config=peft_config,
    )
    return TrainingRun(trainer, data, style_fit)
