"""The end of a run: held-out figures, calibration on battles training has not seen, and a run directory that is whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from trl import ModelConfig

from arena_data.style.features import RESPONSE_FEATURES
from arena_data.submission import write_submission
from reward_model.calibration import calibration
from reward_model.evaluation.probabilities import log_loss
from reward_model.model.score_layer import score_module_name
from reward_model.model.style_head import StyleHead, StyleScale
from reward_model.run_directory.settings import RewardModelConfig
from reward_model.run_directory.writing import write_run
from reward_model.train.precision import float32_score
from reward_model.train.trainer import TieRewardTrainer

# Probabilities of the validation split before calibration, by id: what K-fold training joins.
HELD_OUT = "held_out.csv"


def finish_run(
    trainer: TieRewardTrainer,
    rows: Mapping[str, datasets.Dataset],
    battles: Mapping[str, datasets.Dataset],
    prior: np.ndarray,
    scale: StyleScale | None,
    arguments: ModelConfig,
) -> dict[str, Any]:
    """Saves the model, fits calibration on the calibration split and writes the artefact; returns the figures.

    Args:
        trainer: after training.
        rows, battles: the three splits by name, encoded and as they were.
        prior: float [3], shares of A, B, tie in the training split.
    """
    log_probs = {name: trainer.predict(rows[name]).predictions for name in ("validation", "calibration")}
    verdicts = {name: np.asarray(list(battles[name]["verdict"]), dtype=np.float64) for name in log_probs}
    groups = list(battles["calibration"]["group"])
    fitted = calibration.fit(log_probs["calibration"], verdicts["calibration"], groups)
    metrics: dict[str, Any] = dict(
        held_out_metrics(fitted.apply(log_probs["validation"]), verdicts["validation"], prior)
    )
    # What the validation split says of the map; it picked the checkpoint, but calibration has not seen it.
    metrics["log_loss_uncalibrated"] = log_loss(log_probs["validation"], verdicts["validation"])
    metrics["train_battles"] = len(rows["train"])
    # Prediction's answer for a row that cannot be scored.
    metrics["prior"] = np.asarray(prior, dtype=np.float64).tolist()

    trainer.save_model()
    model = trainer.accelerator.unwrap_model(trainer.model)
    score = {name.rpartition(".")[2]: value.numpy() for name, value in float32_score(model).items()}
    if trainer.is_world_process_zero():
        output = str(trainer.args.output_dir)
        # The Trainer pickles its arguments; a run directory holds no pickle, and no path of the machine it was made on.
        Path(output, "training_args.bin").unlink(missing_ok=True)
        config = RewardModelConfig(
            encoding=trainer.args.encoding,
            tie_link=trainer.args.tie_link,
            max_length=int(trainer.args.max_length or 0),
            base_model=str(arguments.model_name_or_path),
            base_model_revision=arguments.model_revision if arguments.model_revision != "main" else None,
            model_type="adapter" if arguments.use_peft else "full",
            score_module=score_module_name(model),
            style=scale is not None,
        )
        history = trainer.state.log_history
        write_run(output, config, _style_head(score, scale), fitted, metrics, history)
        write_submission(Path(output, HELD_OUT), battles["validation"]["id"], np.exp(log_probs["validation"]))
    trainer.accelerator.wait_for_everyone()
    return metrics


def held_out_metrics(log_probs: np.ndarray, verdicts: np.ndarray, prior: np.ndarray) -> dict[str, float]:
    """Log loss, accuracy and Brier score, beside the log loss of always saying the training split's shares."""
    probabilities = np.exp(log_probs)
    return {
        "log_loss": log_loss(log_probs, verdicts),
        "class_prior_log_loss": log_loss(np.tile(np.log(np.clip(prior, 1e-6, 1)), (len(verdicts), 1)), verdicts),
        "accuracy": float((log_probs.argmax(1) == verdicts.argmax(1)).mean()),
        "brier_score": float(((probabilities - verdicts) ** 2).sum(axis=1).mean()),
        "tie_rate_predicted": float(probabilities[:, 2].mean()),
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
