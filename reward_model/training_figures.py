"""What a person sees of training: the figures of a step and of an evaluation, and how fast it goes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.trainer_utils import EvalLoopOutput

from reward_model.links import log_probabilities
from reward_model.losses import cross_entropy


def figures_of(log_probs: torch.Tensor, labels: torch.Tensor, margin: torch.Tensor) -> dict[str, float]:
    """Means over battles, by name.

    Args:
        log_probs, labels: float32 [battles, 3], log-probabilities and verdicts.
        margin: float32 [battles].
    """
    return {
        "log_loss": cross_entropy(log_probs, labels).mean().item(),
        "accuracy": (log_probs.argmax(-1) == labels.argmax(-1)).float().mean().item(),
        "tie_rate_predicted": log_probs[:, 2].exp().mean().item(),
        "tie_rate_seen": labels[:, 2].mean().item(),
        "margin": margin.abs().mean().item(),
    }


def figures_of_rewards(rewards: torch.Tensor) -> dict[str, float]:
    """More of them. rewards: float32 [2, battles, 2], (value, tie) of each battle's two rows."""
    return {
        "reward_mean": rewards[..., 0].mean().item(),
        "reward_std": rewards[..., 0].std(unbiased=False).item(),
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
        metrics = {f"{prefix}_{name}": value for name, value in figures_of(log_probs, labels, margin).items()}
        metrics[f"{prefix}_loss"] = metrics[f"{prefix}_log_loss"]
    return EvalLoopOutput(
        predictions=log_probs.numpy(),
        label_ids=None if labels is None else labels.numpy(),
        metrics=metrics,
        num_samples=len(log_probs),
    )
