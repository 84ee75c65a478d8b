"""Where the score layer starts with both-bad as an outcome: at the best fit of style alone to four outcomes.

As `reward_model.train.initial_weights`, but the level of both responses counts too, beside their difference: it says how far
they lie above the absolute zero.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from arena_data.splits.both_bad import both_bad_of
from arena_data.splits.folds import deal_folds
from reward_model.model.four_outcomes import four_cross_entropy, four_log_probabilities
from reward_model.model.score_layer import TieAwareScore
from reward_model.train.dataset import TrainingData
from reward_model.train.initial_weights import PENALTIES, StyleFit

_STEPS = 60


class FourStyle(NamedTuple):
    """What the fit reads, float64: sides a and b [n, F], pair [n, F + 1], verdicts [n, 3], both_bad [n] (NaN: unknown)."""

    a: torch.Tensor
    b: torch.Tensor
    pair: torch.Tensor
    verdicts: torch.Tensor
    both_bad: torch.Tensor

    def rows(self, chosen: torch.Tensor) -> "FourStyle":
        return FourStyle(*(values[chosen] for values in self))

    def losses(self, theta: torch.Tensor, link: str) -> torch.Tensor:
        """float64 [n], of weights theta: of style [F], of pairs [F + 1], the tie bias and the zero."""
        reward, pair, tie, zero = theta.split([self.a.shape[1], self.pair.shape[1], 1, 1])
        readings = self.a @ reward - zero, self.b @ reward - zero, self.pair @ pair + tie
        return four_cross_entropy(four_log_probabilities(*readings, link), self.verdicts, self.both_bad)


def start_four_from_style(score: TieAwareScore, data: TrainingData, link: str, start: tuple[float, float]) -> StyleFit:
    """Fits style alone to the training part's four outcomes and puts the weights into the score layer.

    Args:
        start: where the tie bias and the absolute zero begin; they are not penalised.

    Raises: ValueError for data without style.
    """
    style, scale = data.train.style, data.scale
    if style is None or scale is None:
        raise ValueError("the battles' style was not counted; make the training data with style=True")
    arrays = [*scale.sides(style), scale.pairs(style), data.train.verdicts, both_bad_of(data.train.battles)]
    columns = FourStyle(*(torch.from_numpy(np.asarray(values, dtype=np.float64)) for values in arrays))
    fitted = fit_four(columns, data.train.groups, link, start)
    fitted.copy_to(score)
    return fitted


def fit_four(data: FourStyle, groups: Sequence[str], link: str, start: tuple[float, float]) -> StyleFit:
    """The fit with the best cross-validated log loss of `PENALTIES`. Args: as of `start_four_from_style`."""
    part, folds = deal_folds(groups, data.verdicts.numpy())
    fold = torch.from_numpy(part)
    losses = []
    for penalty in PENALTIES:
        total = 0.0
        for number in range(folds):
            held_out = fold == number
            theta = _minimise(data.rows(~held_out), link, start, penalty)
            total += float(data.rows(held_out).losses(theta, link).sum())
        losses.append((total / len(groups), penalty))
    log_loss, penalty = min(losses)
    reward, pair, tie, zero = _minimise(data, link, start, penalty).split([data.a.shape[1], data.pair.shape[1], 1, 1])
    nothing = torch.zeros(0, dtype=torch.float64)
    return StyleFit(reward, pair, tie, nothing, nothing, penalty, log_loss, zero=zero)


def _minimise(data: FourStyle, link: str, start: tuple[float, float], penalty: float) -> torch.Tensor:
    """Weights [2F + 3] that minimise mean loss + penalty / 2 · |weights|², tie bias and zero left free."""
    kept = data.a.shape[1] + data.pair.shape[1]
    theta = torch.cat([torch.zeros(kept, dtype=torch.float64), torch.tensor(start, dtype=torch.float64)])
    theta.requires_grad_(True)
    optimizer = torch.optim.LBFGS([theta], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = data.losses(theta, link).mean() + penalty / 2 * theta[:kept].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return theta.detach()
