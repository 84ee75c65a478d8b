"""The training loss: cross-entropy against a verdict, hard or soft, a value a battle; the caller takes the mean.

Label smoothing (Szegedy et al. 2016, section 7) and distillation (Hinton et al. 2015, eq. 4) with their usual meaning:
the verdict is mixed with the uniform distribution; a teacher's probabilities at a temperature are a second target.
"""

from collections.abc import Sequence
from typing import Any

import torch

from reward_model.model.tie_links import log_probabilities


def cross_entropy(log_probs: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """float32 [battles]: -sum(target * log p). log_probs, targets: [battles, 3]."""
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / targets.shape[-1]
    return -(targets * log_probs).sum(dim=-1)


def distillation(log_probs: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """float32 [battles]: cross-entropy to the teacher's probabilities, both at `temperature`, times its square so that
    gradients keep their size. 0 where the teacher's row is NaN. log_probs, teacher: [battles, 3]."""
    known = torch.isfinite(teacher).all(dim=-1)
    softened = torch.log_softmax(teacher.nan_to_num(1.0).clamp_min(1e-8).log() / temperature, dim=-1).exp()
    loss = cross_entropy(torch.log_softmax(log_probs / temperature, dim=-1), softened)
    return torch.where(known, loss * temperature**2, torch.zeros_like(loss))


def training_loss(
    log_probs: torch.Tensor,
    labels: torch.Tensor,
    *,
    teacher: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    teacher_weight: float = 0.0,
    teacher_temperature: float = 1.0,
) -> torch.Tensor:
    """float32 [battles]: (1 - w) * verdict + w * teacher where there is a teacher, the verdict alone elsewhere."""
    loss = cross_entropy(log_probs, labels, label_smoothing)
    if teacher is None or not teacher_weight:
        return loss
    known = torch.isfinite(teacher).all(dim=-1)
    mixed = (1 - teacher_weight) * loss + teacher_weight * distillation(log_probs, teacher, teacher_temperature)
    return torch.where(known, mixed, loss)


def loss_of_readings(
    readings: Sequence[tuple[torch.Tensor, torch.Tensor]], labels: torch.Tensor, link: str, **options: Any
) -> torch.Tensor:
    """float32 [battles]: the mean of `training_loss` over a battle's readings.

    Args:
        readings: (margin, tie strength), float32 [battles] each, of `reward_model.tokens.encodings.Encoding.readings`.
        labels: float32 [battles, 3].
        link, options: as for `log_probabilities` and `training_loss`.
    """
    losses = [training_loss(log_probabilities(*reading, link), labels, **options) for reading in readings]
    return torch.stack(losses).mean(dim=0)
