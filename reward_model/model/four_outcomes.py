"""Both-bad as an outcome of its own: A, B, tie, both bad, with an absolute zero below which a response is not usable.

A margin says which response is better, and nothing of whether either is any good. A vote for "both are bad" does: it is a
vote for a third competitor, "no response", whose reward is 0. With pi = e^r, rewards counted from that zero, S = pi_A +
pi_B + 1 and theta = e^eta = 1 + e^tau:

    `rao_kupper`   P(A) = pi_A / (pi_A + theta pi_B + 1)      P(both bad) = 1 / S      P(tie) = what remains
    `davidson`     P(A) : P(B) : P(tie) : P(both bad) = pi_A : pi_B : nu sqrt(pi_A pi_B) : 1      nu = e^tau

The first is the grounded Rao-Kupper model of Frick et al. (2025), "Prompt-to-Leaderboard", arXiv 2502.14855 (the loss `bag`
of https://github.com/lmarena/p2l). The second is Davidson (1970) with the same third competitor. What remains for a tie is
computed as pi_A pi_B e^tau / S · (1 / (pi_A + theta pi_B + 1) + 1 / (pi_B + theta pi_A + 1)), so nothing cancels.

Against the third competitor alone a response wins with P(usable) = pi / (pi + 1) = sigma(r).

Where both bad counts as a tie, the sum is a verdict of three again. `three_class` gives the margin and the tie strength at
which the plain link has it, so all that reads three probabilities needs no change:

    `davidson`     d' = d                                        tau' = log(e^tau + e^{-(r_A + r_B)/2})
    `rao_kupper`   d' = d + (x_A - x_B) / 2,  x = log(1 + e^{-r - eta})       eta' = eta + (x_A + x_B) / 2
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from reward_model.model.losses import distillation
from reward_model.model.tie_links import LINKS, log_probabilities

FOUR_LABELS = ("A", "B", "tie", "both bad")


def _check(link: str) -> None:
    if link not in LINKS:
        raise ValueError(f"unknown tie link {link!r}; expected one of {', '.join(LINKS)}")


def _softplus(x: Tensor) -> Tensor:
    return -logsigmoid(-x)


def _float(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Equal shapes and one dtype of at least float32."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return torch.broadcast_tensors(*(tensor.to(dtype) for tensor in tensors))


def four_log_probabilities(reward_a: Tensor, reward_b: Tensor, tie_strength: Tensor, link: str) -> Tensor:
    """Log-probabilities of A, B, tie and both bad; exchanging the rewards exchanges the first two to the last bit.

    Args:
        reward_a, reward_b: float [battles], counted from the absolute zero.
        tie_strength: tau, float, broadcasts.
        link: one of `reward_model.model.tie_links.LINKS`.

    Returns:
        float32 or float64 [battles, 4].

    Raises:
        ValueError: an unknown link.
    """
    _check(link)
    a, b, tau = _float(reward_a, reward_b, tie_strength)
    if link == "davidson":
        half = (a - b) / 2
        return torch.stack((half, -half, tau, -(a + b) / 2), dim=-1).log_softmax(dim=-1)
    zero = torch.zeros_like(a)
    eta = _softplus(tau)
    log_a = torch.logaddexp(torch.logaddexp(a, eta + b), zero)
    log_b = torch.logaddexp(torch.logaddexp(b, eta + a), zero)
    log_s = torch.logaddexp(torch.logaddexp(a, b), zero)
    log_tie = (a + b) + tau - log_s + torch.logaddexp(-log_a, -log_b)
    return torch.stack((a - log_a, b - log_b, log_tie, -log_s), dim=-1)


def three_class(reward_a: Tensor, reward_b: Tensor, tie_strength: Tensor, link: str) -> tuple[Tensor, Tensor]:
    """The margin and the tie strength, [battles] each, at which the plain link gives P(A), P(B), P(tie) + P(both bad).

    Arguments and errors as for `four_log_probabilities`.
    """
    _check(link)
    a, b, tau = _float(reward_a, reward_b, tie_strength)
    if link == "davidson":
        return a - b, torch.logaddexp(tau, -(a + b) / 2)
    eta = _softplus(tau)
    x_a, x_b = _softplus(-a - eta), _softplus(-b - eta)
    summed = (eta + (x_a + x_b) / 2).clamp_min(torch.finfo(eta.dtype).tiny)
    return a - b + (x_a - x_b) / 2, summed + torch.log(-torch.expm1(-summed))


def usable(rewards: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """P(usable) of responses by their rewards, counted from the absolute zero; of the same shape."""
    rewards = np.asarray(rewards, dtype=np.float64)
    return np.exp(-np.logaddexp(0.0, -rewards))


def four_cross_entropy(log_probs: Tensor, labels: Tensor, both_bad: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """float32 [battles]: cross-entropy against verdicts of which it may not be known whether a tie is both bad.

    Args:
        log_probs: float32 [battles, 4].
        labels: float32 [battles, 3], shares of A, B and tie, both bad among the ties.
        both_bad: float32 [battles], its share; NaN where the source does not record it: then the verdict counts by
            the sum of the two.
        label_smoothing: mixes the verdict with the uniform distribution over four.
    """
    win_a, win_b, tie = labels.unbind(dim=-1)
    known = torch.isfinite(both_bad)
    bad = both_bad.nan_to_num(0.0)
    log_a, log_b, log_tie, log_bad = log_probs.unbind(dim=-1)
    of_ties = torch.where(known, (tie - bad) * log_tie + bad * log_bad, tie * torch.logaddexp(log_tie, log_bad))
    loss = -(win_a * log_a + win_b * log_b + of_ties)
    return loss if not label_smoothing else (1 - label_smoothing) * loss - label_smoothing * log_probs.mean(dim=-1)


def four_loss(
    rewards: Tensor,
    labels: Tensor,
    both_bad: Tensor,
    link: str,
    *,
    teacher: Tensor | None = None,
    label_smoothing: float = 0.0,
    teacher_weight: float = 0.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    """float32 [battles]: as `reward_model.model.losses.training_loss`, of four outcomes; a teacher speaks of three.

    Args:
        rewards: float32 [2, battles, 2], (value, tie) of the two rows of each battle, of a separate encoding.
        labels, both_bad: as for `four_cross_entropy`.
    """
    readings = rewards_and_tie(rewards)
    loss = four_cross_entropy(four_log_probabilities(*readings, link), labels, both_bad, label_smoothing)
    if teacher is None or not teacher_weight:
        return loss
    taught = distillation(log_probabilities(*three_class(*readings, link), link), teacher, teacher_temperature)
    known = torch.isfinite(teacher).all(dim=-1)
    return torch.where(known, (1 - teacher_weight) * loss + teacher_weight * taught, loss)


def rewards_and_tie(rewards: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reward of A, reward of B and tie strength, [battles] each, of `rewards` as for `four_loss`."""
    return rewards[0, :, 0], rewards[1, :, 0], rewards[..., 1].mean(dim=0)


def start_of(shares: npt.ArrayLike, link: str) -> tuple[float, float]:
    """The tie strength and the absolute zero that give shares seen, where all responses have the same reward.

    Args:
        shares: float [4], of A, B, tie and both bad.
    """
    _check(link)
    seen = np.clip(np.asarray(shares, dtype=np.float64), 0.01, 0.98)
    seen = seen / seen.sum()
    wins, bad = seen[0] + seen[1], seen[3]
    if link == "davidson":
        return float(np.log(2 * seen[2] / wins)), float(np.log(2 * bad / wins))
    return float(np.log(2 * (1 / wins - 1 / (1 - bad)))), float(np.log(2 * bad / (1 - bad)))
