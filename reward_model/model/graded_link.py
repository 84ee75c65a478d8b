"""Grades of a win, such as slightly better, better, much better: an ordered link below the tie link.

A, tie and B have the probabilities of the tie link, which are those that are predicted. How clear a win is follows a
cumulative logit with thresholds of its own, 0 = t_1 < t_2 < … < t_K:

    P(A wins by grade k or more) = P(A) · σ(z - t_k) / σ(z)        z = d - η for Rao-Kupper, d for Davidson

Rao-Kupper's P(A) is σ(d - η), so this is σ(d - η - t_k): the cumulative logit for ordinal comparisons of Agresti (1992),
"Analysis of ordinal paired comparison data", Applied Statistics 41, 287-297, whose thresholds are symmetric. Davidson's
given no tie is σ(d), and its grades are that model's given no tie. For B the margin changes its sign: swapping is exact.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from reward_model.model.tie_links import log_probabilities

_FAR = 1e4  # the gap above the last grade


def graded_log_probabilities(
    margin: Tensor, tie_strength: Tensor, gaps: Tensor, link: str, levels: Tensor | None = None
) -> Tensor:
    """Log-probabilities of A by each grade, the clearest first, of a tie, and of B by each grade, the clearest last.

    Args:
        margin, tie_strength: d and τ, float [n].
        gaps: float [n, K - 1], t_2 - t_1, t_3 - t_2, …, all above 0.
        link: as for `log_probabilities`.
        levels: int64 [n], how many of the K grades a battle can have; all if None. The others get about -10^4.

    Returns: float [n, 2K + 1]. The K first sum to P(A), the K last to P(B).
    """
    levels = torch.full(margin.shape, gaps.shape[-1] + 1, device=margin.device) if levels is None else levels
    win_a, win_b, tie = log_probabilities(margin, tie_strength, link).unbind(dim=-1)
    by_a, by_b = (log_grades(z, gaps, levels) for z in _leads(margin, tie_strength, link))
    return torch.cat([(win_a[:, None] + by_a).flip(-1), tie[:, None], win_b[:, None] + by_b], dim=-1)


def grade_losses(
    margin: Tensor, tie_strength: Tensor, labels: Tensor, grade: Tensor, levels: Tensor, gaps: Tensor, link: str
) -> Tensor:
    """float [n]: -log P(grade | who won), each side by its share of the verdict; 0 where nobody graded.

    Args:
        labels: float [n, 3].
        grade: int64 [n], 1 to levels; 0 where nobody graded.
        levels: int64 [n].
        others: as for `graded_log_probabilities`.
    """
    place = (grade - 1).clamp_min(0)[:, None]
    by_side = [log_grades(z, gaps, levels).gather(-1, place)[:, 0] for z in _leads(margin, tie_strength, link)]
    loss = -(labels[:, 0] * by_side[0] + labels[:, 1] * by_side[1])
    return torch.where(grade > 0, loss, torch.zeros_like(loss))


def log_grades(lead: Tensor, gaps: Tensor, levels: Tensor) -> Tensor:
    """float [n, K]: log P(grade 1), …, log P(grade K) given the win.

    Args:
        lead: z of the side that won, float [n].
        gaps: float [n, K - 1].
        levels: int64 [n].

    σ(a) - σ(b) is computed as (1 - e^{b - a}) σ(a) σ(-b): nothing large cancels.
    """
    number = torch.arange(gaps.shape[-1], device=gaps.device)
    gaps = torch.where(number < levels[:, None] - 1, gaps.clamp_min(1e-6), torch.full_like(gaps, _FAR))
    gaps = torch.cat([gaps, torch.full_like(lead, _FAR)[:, None]], dim=-1)
    lower = torch.cat([torch.zeros_like(lead)[:, None], gaps[:, :-1].cumsum(dim=-1)], dim=-1)
    above = lead[:, None] - lower
    return logsigmoid(above) + logsigmoid(gaps - above) + torch.log(-torch.expm1(-gaps)) - logsigmoid(lead)[:, None]


def _leads(margin: Tensor, tie_strength: Tensor, link: str) -> tuple[Tensor, Tensor]:
    """z of A and of B."""
    # Multiplied by 0 it adds nothing, but stays in the graph, as in `tie_links.pairwise`.
    eta = -logsigmoid(-tie_strength) if link == "rao_kupper" else 0 * tie_strength
    return margin - eta, -margin - eta
