"""What a person sees of a training run: one bar with the time left and the current figures, and a line an evaluation.

The Trainer's own callback prints every log entry; these go to the trackers and to curves.png anyway.

Source: `ProgressCallback`, https://huggingface.co/docs/transformers/main_classes/callback.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import ProgressCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import EvalLoopOutput

from reward_model.model.losses import cross_entropy
from reward_model.model.tie_links import log_probabilities

SHOWN = {"log_loss": "log loss", "tokens_per_second": "tokens/s", "padding_share": "padding"}


class Progress(ProgressCallback):
    """The Trainer's bar, with log entries beside it instead of below it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        bar = self.training_bar
        if not state.is_world_process_zero or bar is None or not logs:
            return
        bar.set_postfix({name: _short(logs[key]) for key, name in SHOWN.items() if key in logs}, refresh=False)
        if "eval_log_loss" in logs:
            epoch, log_loss, accuracy = (float(logs.get(key, 0)) for key in ("epoch", "eval_log_loss", "eval_accuracy"))
            bar.write(f"epoch {epoch:.2f}: validation log loss {log_loss:.4f}, accuracy {accuracy:.3f}")


def show_progress(trainer: Any) -> None:
    """Puts `Progress` in the place of what the Trainer prints; with disable_tqdm nothing is printed between the ends."""
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(Progress)


def _short(value: Any) -> str:
    return f"{float(value):.3g}"


def figures_of(log_probs: torch.Tensor, labels: torch.Tensor, margin: torch.Tensor) -> dict[str, torch.Tensor]:
    """Means over battles, by name, on the tensors' device: reading one makes a GPU wait, so that is the caller's choice.

    Args:
        log_probs, labels: float32 [battles, 3], log-probabilities and verdicts.
        margin: float32 [battles].
    """
    return {
        "log_loss": cross_entropy(log_probs, labels).mean(),
        "accuracy": (log_probs.argmax(-1) == labels.argmax(-1)).float().mean(),
        "tie_rate_predicted": log_probs[:, 2].exp().mean(),
        "tie_rate_seen": labels[:, 2].mean(),
        "margin": margin.abs().mean(),
    }


def figures_of_rewards(rewards: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean and standard deviation of the batch's rewards, by name.

    Args:
        rewards: float32 [2, battles, 2], (value, tie) of each battle's two rows.
    """
    return {
        "reward_mean": rewards[..., 0].mean(),
        "reward_std": rewards[..., 0].std(unbiased=False),
    }


@dataclass
class Throughput:
    """Tokens and battles that one process has read since it was made."""

    started: float = field(default_factory=time.perf_counter)
    tokens: int = 0
    battles: int = 0

    def add(self, tokens: int, battles: int) -> None:
        self.tokens += tokens
        self.battles += battles

    def rates(self, processes: int) -> dict[str, float]:
        """Of all processes together, a second."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        return {
            "tokens_per_second": round(self.tokens * processes / seconds, 1),
            "battles_per_second": round(self.battles * processes / seconds, 3),
        }


def in_order(parts: Sequence[tuple[list[int], np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Margins and tie strengths, [battles] each, in the order of the dataset.

    Args:
        parts: batches of any processes: the battles' places in the dataset, margins, tie strengths.
    """
    order = np.argsort(np.concatenate([np.asarray(part[0]) for part in parts]), kind="stable")
    margin, tie = (torch.tensor(np.concatenate([part[i] for part in parts])[order]) for i in (1, 2))
    return margin, tie


def evaluation_output(
    parts: Sequence[tuple[list[int], np.ndarray, np.ndarray]], dataset: Any, link: str, prefix: str
) -> EvalLoopOutput:
    """Log-probabilities float32 [battles, 3] in the order of the dataset, and their figures where it has `labels`.

    Args:
        parts: as for `in_order`.
        link: as for `log_probabilities`.
        prefix: of the figures' names.
    """
    margin, tie = in_order(parts)
    log_probs = log_probabilities(margin, tie, link)
    metrics: dict[str, float] = {}
    labels = None
    if "labels" in dataset.column_names:
        labels = torch.tensor(np.asarray(dataset["labels"], dtype=np.float32))
        figures = figures_of(log_probs, labels, margin)
        metrics = {f"{prefix}_{name}": value.item() for name, value in figures.items()}
        metrics[f"{prefix}_loss"] = metrics[f"{prefix}_log_loss"]
        losses = cross_entropy(log_probs, labels)
        metrics[f"{prefix}_log_loss_standard_error"] = (
            (losses.std() / len(losses) ** 0.5).item() if len(losses) > 1 else 0.0
        )
    return EvalLoopOutput(
        predictions=log_probs.numpy(),
        label_ids=None if labels is None else labels.numpy(),
        metrics=metrics,
        num_samples=len(log_probs),
    )
