"""The end of a run: held-out figures, calibration on battles training has not seen, and a run directory that is whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from trl import ModelConfig

from arena_data.style.features import RESPONSE_FEATURES
from arena_data.submission import write_submission
from reward_model.calibration import calibration
from reward_model.evaluation.probabilities import log_loss, row_losses
from reward_model.evaluation.quality import quality
from reward_model.evaluation.resampling import Resampling
from reward_model.model.score_layer import score_module_name
from reward_model.model.style_head import StyleHead
from reward_model.run_directory.curves import CLASS_PRIOR, STYLE_ALONE
from reward_model.run_directory.settings import RewardModelConfig
from reward_model.run_directory.writing import begin_run, write_run
from reward_model.train.dataset import TrainingData
from reward_model.train.precision import float32_score
from reward_model.train.sources import Sources
from reward_model.train.trainer import TieRewardTrainer

# Probabilities of the validation split before calibration, by id: what K-fold training joins.
HELD_OUT = "held_out.csv"


def finish_run(
    trainer: TieRewardTrainer,
    data: TrainingData,
    arguments: ModelConfig,
    sources: Sources | None = None,
    style_log_loss: float | None = None,
) -> dict[str, Any]:
    """Saves the model, fits calibration on the calibration part and writes the artefact; returns the figures.

    Args:
        trainer: after training.
        data: what it was trained on, and the parts that it has not seen.
        sources: of what it was trained on; our own alone if None.
        style_log_loss: what style alone reaches, where it was fitted.
    """
    sources = sources or Sources()
    held_out, unseen = data.validation, data.calibration
    log_probs = trainer.predict(held_out.rows).predictions
    fitted = calibration.fit(trainer.predict(unseen.rows).predictions, unseen.verdicts, unseen.groups)
    metrics = validation_metrics(fitted.apply(log_probs), held_out.verdicts, data.prior, held_out.groups)
    if style_log_loss is not None:
        metrics[STYLE_ALONE] = style_log_loss
    # What the validation part says of the map; it picked the checkpoint, but calibration has not seen it.
    metrics["log_loss_uncalibrated"] = log_loss(log_probs, held_out.verdicts)
    metrics["train_battles"] = len(data.train.rows)
    if sources.names:
        metrics["source_weights"] = dict(zip(sources.names, sources.weights[1:], strict=True))
    # Prediction's answer for a row that cannot be scored.
    metrics["prior"] = data.prior.tolist()
    if data.links is not None:
        metrics["links"] = data.links

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
            outcomes=trainer.args.outcomes,
            show_models=trainer.args.show_models,
            max_length=int(trainer.args.max_length or 0),
            base_model=str(arguments.model_name_or_path),
            base_model_revision=arguments.model_revision if arguments.model_revision != "main" else None,
            model_type=model_type,
            score_module=score_module_name(model),
            style=data.scale is not None,
            sources=list(sources.names),
            grade_levels=sources.grade_levels,
        )
        history = trainer.state.log_history
        head = None if data.scale is None else StyleHead.of(RESPONSE_FEATURES, score, data.scale)
        write_run(output, config, head, fitted, metrics, history)
        write_submission(Path(output, HELD_OUT), held_out.battles["id"], np.exp(log_probs))
    trainer.accelerator.wait_for_everyone()
    return metrics


def validation_metrics(
    log_probs: np.ndarray, verdicts: np.ndarray, prior: np.ndarray, groups: Sequence[str]
) -> dict[str, Any]:
    """The report's figures of battles that training did not learn from, and the gain over always saying `prior`.

    Returns: figures by name; `intervals`, of 95 %, and `gain_over_prior`: each [low, high].
    """
    figures = quality(log_probs, verdicts, groups, ("log_loss", "accuracy", "brier_score"))
    always_prior = np.tile(np.log(np.clip(prior, 1e-6, 1)), (len(verdicts), 1))
    gain = Resampling(groups).mean(row_losses(always_prior, verdicts) - row_losses(log_probs, verdicts))
    return {
        "log_loss": figures["log_loss"]["value"],
        CLASS_PRIOR: log_loss(always_prior, verdicts),
        "accuracy": figures["accuracy"]["value"],
        "brier_score": figures["brier_score"]["value"],
        "tie_rate_predicted": float(np.exp(log_probs)[:, 2].mean()),
        "tie_rate_seen": float(verdicts[:, 2].mean()),
        "battles": len(verdicts),
        "intervals": {
            name: [figure["low"], figure["high"]] for name, figure in figures.items() if figure["low"] is not None
        },
        "gain_over_prior": [gain["low"], gain["high"]],
    }


def doubt(metrics: Mapping[str, Any]) -> str | None:
    """A line for a model that is not surely better than the class prior, or no better than style alone; else None."""
    low, _ = metrics["gain_over_prior"]
    if low is None or low <= 0:
        return (
            f"warning: on {metrics['battles']:,} validation battles this model is not surely better than always saying the "
            f"shares of the verdicts ({metrics[CLASS_PRIOR]:.4f}); train on more battles, or judge it on more"
        )
    if STYLE_ALONE in metrics and metrics["log_loss"] >= metrics[STYLE_ALONE]:
        return f"warning: this model is no better than style alone ({metrics[STYLE_ALONE]:.4f}): it has not learned to read"
    return None
