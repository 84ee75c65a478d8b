"""What a battle's source says of its verdict: tie habits of its own, and whether it records ties at all.

    tie strength of a battle of source s = tie strength + o_s        o_0 = 0: our own battles, which are predicted
    a source that never records a tie    : the likelihood of who wins, given that nobody ties (`tie_links.pairwise`)
    a battle of source s counts w_s      : our own count 1

The offsets o are `source_bias` of the score layer, the gaps between grades `grade_bias`: rows of both are chosen by the
battle's source inside the layer's forward, where ZeRO 3 and DDP want parameters to be read. Neither is part of the reward.

Source: Davidson (1970), "On extending the Bradley-Terry model to accommodate ties", with a rate of ties for each source.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from reward_model.model.graded_link import grade_losses
from reward_model.model.losses import loss_of_readings, training_loss
from reward_model.model.tie_links import pairwise

NEVER = -1e9  # a log-probability that vanishes, and that a share of 0 can be multiplied with
START = 0.5413248546  # softplus(START) = 1: the gap between grades before training


class SourceInputs(NamedTuple):
    """Of n battles.

    Args:
        source: int64 [n], 0 for our own, else the number of the source.
        weight: float [n], what the battle counts.
        tie_observed: bool [n], whether its source records ties.
        grade: int64 [n], 1 for the least; 0 where nobody graded the battle.
        levels: int64 [n], how many grades its source has; 0 for none.
    """

    source: Tensor
    weight: Tensor
    tie_observed: Tensor
    grade: Tensor
    levels: Tensor

    def rows(self, chosen: Tensor) -> "SourceInputs":
        return SourceInputs(*(values[chosen] for values in self))


def source_parameters(sources: int, grade_levels: int, device: torch.device) -> dict[str, nn.Parameter | None]:
    """`source_bias`, float32 [sources], and `grade_bias`, float32 [sources + 1, grade_levels - 1]; None for no elements.

    Their names keep weight decay away, as it is kept from biases.
    """
    offsets = torch.zeros(sources, device=device, dtype=torch.float32)
    gaps = torch.full((sources + 1, max(grade_levels - 1, 0)), START, device=device, dtype=torch.float32)
    values = {"source_bias": offsets, "grade_bias": gaps}
    return {name: nn.Parameter(value) if value.numel() else None for name, value in values.items()}


def source_columns(
    source: Tensor, like: Tensor, source_bias: nn.Parameter | None, grade_bias: nn.Parameter | None
) -> tuple[Tensor, ...]:
    """What to add to the tie strength, and the gaps between grades as columns of their own.

    Args:
        source: int64 [rows], 0 for our own battles.
        like: float32 [rows, …, 1], whose shape the columns take.
        source_bias: float32 [sources] without our own, or None.
        grade_bias: float32 [sources + 1, levels - 1], or None.

    Returns: the offset, float32 [rows, …, 1], and where there are grades the gaps, float32 [rows, …, levels - 1].
    """
    source = source.to(like.device)
    shape = (len(source), *[1] * (like.ndim - 2), -1)
    offset = torch.zeros_like(like)
    if source_bias is not None:
        offset = offset + torch.cat([source_bias.new_zeros(1), source_bias]).float()[source].view(shape)
    if grade_bias is None:
        return (offset,)
    gaps = softplus(grade_bias.float())[source].view(shape)
    return offset, gaps.expand(*like.shape[:-1], -1)


def as_observed(log_probs: Tensor, tie_observed: Tensor) -> Tensor:
    """float [n, 3]: log-probabilities of what can be seen; of A and B given no tie where ties are not recorded."""
    decided = log_probs[:, :2].log_softmax(dim=-1)
    decided = torch.cat([decided, torch.full_like(decided[:, :1], NEVER)], dim=-1)
    return torch.where(tie_observed[:, None], log_probs, decided)


def source_losses(
    readings: Sequence[tuple[Tensor, Tensor]],
    labels: Tensor,
    link: str,
    inputs: SourceInputs,
    gaps: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """float [n]: the loss of each battle by what its source records, times its weight.

    Args:
        readings, labels, link, options: as for `reward_model.model.losses.loss_of_readings`; offsets are in the readings.
        inputs: of the same battles.
        gaps: float [n, levels - 1], between the grades of each battle's source; None without grades.
    """
    teacher = options.get("teacher")
    without_tie = {**options, "teacher": None if teacher is None else teacher[:, :2]}
    decided = [training_loss(pairwise(*reading, link), labels[:, :2], **without_tie) for reading in readings]
    loss = torch.where(
        inputs.tie_observed, loss_of_readings(readings, labels, link, **options), torch.stack(decided).mean(dim=0)
    )
    if gaps is not None:
        graded = [grade_losses(*reading, labels, inputs.grade, inputs.levels, gaps, link) for reading in readings]
        loss = loss + torch.stack(graded).mean(dim=0)
    return loss * inputs.weight
