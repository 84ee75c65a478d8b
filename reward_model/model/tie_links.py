"""Tie links: from a margin and a tie strength to the log-probabilities of A, B and tie.

A battle has a margin d = r_A - r_B, how much better A is, and a tie strength tau, how readily people call such a battle
a tie. Two classical models turn the pair into three probabilities. In both, exchanging the sides (d to -d) exchanges
P(A) with P(B) and leaves P(tie) alone.

`davidson`: Davidson (1970), "On extending the Bradley-Terry model to accommodate ties in paired comparison
experiments", JASA 65, 317-328: P(A) : P(B) : P(tie) = pi_A : pi_B : nu sqrt(pi_A pi_B). Divided by sqrt(pi_A pi_B),
with pi = e^r and nu = e^tau, these are e^{d/2} : e^{-d/2} : e^{tau}, three logits. Given no tie, A wins with sigma(d).

`rao_kupper`: Rao & Kupper (1967), "Ties in paired-comparison experiments: a generalization of the Bradley-Terry model",
JASA 62, 194-204: P(A) = pi_A / (pi_A + theta pi_B). With theta = e^eta, eta = softplus(tau) > 0, this is
sigma(d - eta), and P(B) = sigma(-d - eta). What remains, sigma(d + eta) - sigma(d - eta), equals
(e^{2 eta} - 1) sigma(d - eta) sigma(-d - eta) and is computed as (1 - e^{-2 eta}) sigma(eta - d) sigma(eta + d):
every factor is below 1, so nothing large cancels.
It is the ordered logit with thresholds -eta and eta.
"""

import math

import torch
from torch.nn.functional import logsigmoid

LINKS = ("davidson", "rao_kupper")


def _check(link: str) -> None:
    if link not in LINKS:
        raise ValueError(f"unknown tie link {link!r}; expected one of {', '.join(LINKS)}")


def _broadcast(margin: torch.Tensor, tie_strength: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Equal shapes and one dtype of at least float32, whatever the backbone computes in."""
    dtype = torch.promote_types(torch.promote_types(margin.dtype, tie_strength.dtype), torch.float32)
    margin, tie_strength = torch.broadcast_tensors(margin.to(dtype), tie_strength.to(dtype))
    return margin, tie_strength


def _eta(tie_strength: torch.Tensor) -> torch.Tensor:
    """softplus(tau). Torch's own is the identity above 20, which is 2e-9 off."""
    return -logsigmoid(-tie_strength)


def _log1mexp(tie_strength: torch.Tensor, eta: torch.Tensor) -> torch.Tensor:
    """log(1 - e^{-2 eta}), as log(2 eta) + log((1 - e^{-2 eta}) / (2 eta)): an eta that underflows does no harm."""
    # Far down, softplus(tau) is e^tau to the last digit and its log is tau. Each `where` clamps the branch it does not
    # take: that one gets a gradient too, and it must not be nan.
    tail = tie_strength < -30.0
    log_eta = torch.where(tail, tie_strength, _eta(tie_strength.clamp(min=-30.0)).log())
    doubled = 2 * eta
    small = doubled < 1e-3
    safe = torch.where(small, torch.ones_like(doubled), doubled)
    series = doubled.square() / 24 - doubled / 2
    return math.log(2.0) + log_eta + torch.where(small, series, torch.log(-torch.expm1(-safe) / safe))


def log_probabilities(margin: torch.Tensor, tie_strength: torch.Tensor, link: str) -> torch.Tensor:
    """Log-probabilities of the three verdicts: differentiable, and finite with finite gradients at any sensible size.

    Args:
        margin: d = r_A - r_B, float [batch], or any shape; half precision is computed in float32.
        tie_strength: tau, float, of a shape that broadcasts with the margin's.
        link: one of `LINKS`.

    Returns:
        float32 or float64 [batch, 3] in the order A, B, tie.

    Raises:
        ValueError: an unknown link.
    """
    _check(link)
    margin, tie_strength = _broadcast(margin, tie_strength)
    if link == "davidson":
        return torch.stack((margin / 2, -margin / 2, tie_strength), dim=-1).log_softmax(dim=-1)
    eta = _eta(tie_strength)
    # The brackets, here and below, keep a swap exact to the last bit.
    log_tie = _log1mexp(tie_strength, eta) + (logsigmoid(eta - margin) + logsigmoid(eta + margin))
    return torch.stack((logsigmoid(margin - eta), logsigmoid(-margin - eta), log_tie), dim=-1)


def pairwise(margin: torch.Tensor, tie_strength: torch.Tensor, link: str) -> torch.Tensor:
    """Log-probabilities of A and B given that the battle is no tie: the likelihood of data rid of its ties.

    Dropping ties truncates the distribution, so P(A | no tie) = P(A) / (P(A) + P(B)). Under Davidson the tie strength
    cancels and this is Bradley-Terry, sigma(d); under Rao-Kupper it does not, and tie-free data tell something of eta.

    Args:
        margin: d, float [batch].
        tie_strength: tau, float, broadcasts.
        link: one of `LINKS`.

    Returns:
        float32 or float64 [batch, 2]: log P(A | no tie), log P(B | no tie).

    Raises:
        ValueError: an unknown link.
    """
    _check(link)
    margin, tie_strength = _broadcast(margin, tie_strength)
    if link == "davidson":
        # Adds nothing, but keeps the tie strength in the graph: distributed training stops at unused parameters.
        log_odds = margin + 0 * tie_strength
    else:
        # log P(A) - log P(B), rid of the eta that both carry.
        eta = _eta(tie_strength)
        log_odds = 2 * margin + (logsigmoid(eta - margin) - logsigmoid(eta + margin))
    return torch.stack((logsigmoid(log_odds), logsigmoid(-log_odds)), dim=-1)


def from_probabilities(probs: torch.Tensor, link: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The margin and the tie strength at which a link gives these probabilities: the inverse of `log_probabilities`.

    Args:
        probs: P(A), P(B), P(tie), float [batch, 3], all positive; only their ratios count, so votes serve too.
        link: one of `LINKS`.

    Returns:
        margin d and tie strength tau, float32 or float64 [batch] each.

    Raises:
        ValueError: an unknown link, not three columns, or a value that is not positive and finite.
    """
    _check(link)
    if probs.ndim == 0 or probs.shape[-1] != 3:
        raise ValueError(f"probabilities have shape {tuple(probs.shape)}; expected 3 in the last dimension: A, B, tie")
    if not bool(((probs > 0) & probs.isfinite()).all()):
        raise ValueError("probabilities must all be positive and finite: no finite margin or tie strength gives 0")
    win_a, win_b, tie = probs.to(torch.promote_types(probs.dtype, torch.float32)).unbind(dim=-1)
    if link == "davidson":
        return win_a.log() - win_b.log(), tie.log() - (win_a.log() + win_b.log()) / 2
    # logit P(A) = d - eta and logit P(B) = -d - eta, with 1 - P(A) = P(B) + P(tie).
    margin = ((win_a.log() - (win_b + tie).log()) - (win_b.log() - (win_a + tie).log())) / 2
    eta = (torch.log1p(tie / win_a) + torch.log1p(tie / win_b)) / 2
    return margin, eta + torch.log(-torch.expm1(-eta))
