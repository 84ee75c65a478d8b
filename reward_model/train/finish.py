"""The end of a run: held-out figures, calibration on battles training has not seen, and a run directory that is whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from trl import ModelConfig

from arena_data.style.features import RESPONSE_FEATURES
from arena_data.submission import write_submission
from reward_model.calibration import calibration
from reward_model.evaluation.metrics import measure
from reward_model.evaluation.probabilities import log_loss
from reward_model.model.score_layer import score_module_name
from reward_model.model.style_head import StyleHead, StyleScale
from reward_model.run_directory.settings import RewardModelConfig
from reward_model.run_directory.writing import begin_run, write_run
from reward_model.train.dataset import TrainingData
from reward_model.train.precision import float32_score
from reward_model.train.trainer import TieRewardTrainer

# Probabilities of the validation split before calibration, by id: what K-fold training joins.
HELD_OUT = "held_out.csv"


def finish_run(trainer: TieRewardTrainer, data: TrainingData, arguments: ModelConfig) -> dict[str, Any]:
    """Saves the model, fits calibration on the calibration part and writes the artefact; returns the figures.

    Args:
        trainer: after training.
        data: what it was trained on, and the parts that it has not seen.
    """
    held_out, unseen = data.validation, data.calibration
    log_probs = trainer.predict(held_out.rows).predictions
    fitted = calibration.fit(trainer.predict(unseen.rows).predictions, unseen.verdicts, unseen.groups)
    metrics: dict[str, Any] = dict(held_out_metrics(fitted.apply(log_probs), held_out.verdicts, data.prior))
    # What the validation part says of the map; it picked the checkpoint, but calibration has not seen it.
    metrics["log_loss_uncalibrated"] = log_loss(log_probs, held_out.verdicts)
    metrics["train_battles"] = len(data.train.rows)
    # Prediction's answer for a row that cannot be scored.
    metrics["prior"] = data.prior.tolist()

    model_type = "adapter" if arguments.use_peft else "full"
    if trainer.is_world_process_zero():
        begin_run(str(trainer.args.output_dir), model_type)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model()
    model = trainer.accelerator.unwrap_model(trainer.model)
    score = {name.rpartition(".")[2]: value.numpy() for name, value in float32_score(model).items()}
    if trainer.is_world_process_zero():
        output = str(trainer.args.output_dir)
        config = RewardModelConfig(
            encoding=trainer.args.encoding,
            tie_link=trainer.args.tie_link,
            max_length=int(trainer.args.max_length or 0),
            base_model=str(arguments.model_name_or_path),
            base_model_revision=arguments.model_revision if arguments.model_revision != "main" else None,
            model_type=model_type,
            score_module=score_module_name(model),
            style=data.scale is not None,
        )
        history = trainer.state.log_history
        write_run(output, config, _style_head(score, data.scale), fitted, metrics, history)
        write_submission(Path(output, HELD_OUT), held_out.battles["id"], np.exp(log_probs))
    trainer.accelerator.wait_for_everyone()
    return metrics


def held_out_metrics(log_probs: np.ndarray, verdicts: np.ndarray, prior: np.ndarray) -> dict[str, float]:
    """Log loss, accuracy and Brier score, beside the log loss of always saying the training split's shares."""
    figures = measure(log_probs, verdicts, names=("log_loss", "accuracy", "brier_score"), resamples=0)
    return {
        "log_loss": figures["log_loss"].value,
        "class_prior_log_loss": log_loss(np.tile(np.log(np.clip(prior, 1e-6, 1)), (len(verdicts), 1)), verdicts),
        "accuracy": figures["accuracy"].value,
        "brier_score": figures["brier_score"].value,
        "tie_rate_predicted": float(np.exp(log_probs)[:, 2].mean()),
        "tie_rate_seen": float(verdicts[:, 2].mean()),
        "battles": len(verdicts),
    }


def _style_head(score: Mapping[str, np.ndarray], scale: StyleScale | None) -> StyleHead | None:
    if scale is None:
        return None
    return StyleHead(
        features=RESPONSE_FEATURES,
        style_reward=score["style_reward"],
        style_tie=score["style_tie"],
        style_similarity=score["style_similarity"],
        side_mean=scale.side.mean,
        side_scale=scale.side.spread,
        pair_mean=scale.pair.mean,
        pair_scale=scale.pair.spread,
    )
