"""A tie link for rewards that know no ties: two numbers that make probabilities of a difference of rewards.

    margin d = scale * (r_A - r_B)        tie strength tau, the same for every battle

and then Davidson's or Rao and Kupper's link (`reward_model.model.tie_links`). Both numbers are those of the greatest
likelihood of labelled battles; which link is taken is decided by log loss in cross-validation over prompts. The scale is
above 0: a model whose rewards go against the votes gets one near 0, and all its probabilities are alike.

Swapping a battle swaps P(A) with P(B). Source: Davidson (1970); Rao & Kupper (1967).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from arena_data.splits.folds import deal_folds
from reward_model.evaluation.probabilities import FloatArray, check_groups, check_verdicts, log_loss, row_losses

LINKS = ("davidson", "rao_kupper")
_SMALLEST = 1e-3  # of the scale, per standard deviation of the differences
_LARGEST = 1e2


@dataclass(frozen=True)
class TieLinkFit:
    """A fitted link.

    Args:
        link: `davidson` or `rao_kupper`.
        scale: above 0, logits a unit of reward.
        tie_strength: tau.
        log_loss: in cross-validation, in nats; in-sample where folds is 0.
        prior_log_loss: of the verdicts' own shares, sides taken together.
        rows: battles it was fitted on.
        folds: of the cross-validation; 0 where there was one prompt.

    Raises: ValueError for another link, or numbers that are not finite or out of range.
    """

    link: str
    scale: float
    tie_strength: float
    log_loss: float
    prior_log_loss: float
    rows: int
    folds: int

    def __post_init__(self) -> None:
        if self.link not in LINKS:
            raise ValueError(f"tie link is {self.link!r}; expected {' or '.join(LINKS)}")
        numbers = (self.scale, self.tie_strength, self.log_loss, self.prior_log_loss)
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers) or self.scale <= 0:
            raise ValueError(f"scale is {self.scale!r}, tie strength {self.tie_strength!r}; expected finite numbers")

    def log_probs(self, differences: npt.ArrayLike) -> FloatArray:
        """float64 [n, 3]: log P(A), log P(B), log P(tie). differences: float [n], r_A - r_B."""
        return link_log_probs(self.link, self.scale, self.tie_strength, differences)


def link_log_probs(link: str, scale: float, tie_strength: float, differences: npt.ArrayLike) -> FloatArray:
    """float64 [n, 3]."""
    import torch

    from reward_model.model.tie_links import log_probabilities

    margin = torch.from_numpy(scale * np.asarray(differences, dtype=np.float64))
    log_probs: FloatArray = log_probabilities(margin, torch.full_like(margin, tie_strength), link).numpy()
    return log_probs


def fit_tie_link(
    differences: npt.ArrayLike, verdicts: npt.ArrayLike, groups: Sequence[str] | None = None, seed: int = 0
) -> TieLinkFit:
    """Fits both links and keeps the better one.

    Args:
        differences: float [n], finite, r_A - r_B of each battle.
        verdicts: float [n, 3], one-hot or soft.
        groups: [n], equal for battles of one prompt; None: every row is its own group.
        seed: of the folds.

    Raises: ValueError for no rows, or rows of another shape.
    """
    difference = np.asarray(differences, dtype=np.float64)
    if difference.ndim != 1 or not np.isfinite(difference).all():
        raise ValueError(f"differences have shape {difference.shape}; expected finite numbers [n]")
    targets = check_verdicts(verdicts, len(difference))
    part, folds = deal_folds(check_groups(groups, len(difference)), targets, seed)
    losses = {}
    for link in LINKS:
        held_out = np.empty(len(difference))
        for fold in range(folds):
            out = part == fold
            inside = ~out if folds > 1 else out
            scale, tie_strength = _likeliest(link, difference[inside], targets[inside])
            held_out[out] = row_losses(link_log_probs(link, scale, tie_strength, difference[out]), targets[out])
        losses[link] = float(held_out.mean())
    best = min(LINKS, key=lambda link: losses[link])
    scale, tie_strength = _likeliest(best, difference, targets)
    shares = targets.mean(axis=0)
    alike = np.clip([(shares[0] + shares[1]) / 2] * 2 + [shares[2]], 1e-12, None)
    prior = log_loss(np.tile(np.log(alike), (len(targets), 1)), targets)
    return TieLinkFit(best, scale, tie_strength, losses[best], prior, len(difference), folds if folds > 1 else 0)


def _likeliest(link: str, differences: FloatArray, verdicts: FloatArray) -> tuple[float, float]:
    """Scale and tie strength of the greatest likelihood."""
    unit = float(np.sqrt(np.mean(differences**2))) or 1.0
    scaled = differences / unit

    def loss(point: FloatArray) -> float:
        return log_loss(link_log_probs(link, math.exp(point[0]), point[1], scaled), verdicts)

    bounds = [(math.log(_SMALLEST), math.log(_LARGEST)), (-20.0, 20.0)]
    # A start for each end: the loss is flat where the scale is small.
    fits = [minimize(loss, np.array([start, 0.0]), method="L-BFGS-B", bounds=bounds) for start in (-1.0, 1.0)]
    best = min(fits, key=lambda fit: float(fit.fun))
    return math.exp(float(best.x[0])) / unit, float(best.x[1])
