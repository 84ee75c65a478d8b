"""Where the score layer starts: at the tie rate seen, and at the best fit of style alone, before any text is read.

A battle's length and formatting say much about its verdict and are few numbers, so a convex fit finds what they say in
seconds. Training then starts from there, and the reward has only what style does not explain left to learn. Left to start
from nothing, the head would be learned at the pace of the backbone, which meanwhile learns length itself.

The ridge penalty is chosen by cross-validation over groups (Hastie, Tibshirani & Friedman 2009, sections 3.4 and 7.10).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from arena_data.splits.folds import deal_folds
from reward_model.model.losses import cross_entropy
from reward_model.model.score_layer import TieAwareScore, gathered
from reward_model.model.tie_links import from_probabilities, log_probabilities
from reward_model.train.dataset import TrainingData

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_STEPS = 60


class StyleData(NamedTuple):
    """What the fit reads: float64 difference [n, F] of A and B, pair [n, F + 1], verdicts [n, 3]."""

    difference: torch.Tensor
    pair: torch.Tensor
    verdicts: torch.Tensor

    def rows(self, chosen: torch.Tensor) -> "StyleData":
        return StyleData(*(values[chosen] for values in self))


class StyleFit(NamedTuple):
    """Weights for a TieAwareScore: style_reward [F], pair [F + 1] (style_tie, then similarity) and the tie bias."""

    style_reward: torch.Tensor
    pair: torch.Tensor
    tie_bias: torch.Tensor
    penalty: float
    log_loss: float

    def copy_to(self, score: TieAwareScore) -> None:
        """Raises: ValueError for a score layer without style features."""
        if score.style_reward is None or score.style_tie is None or score.style_similarity is None:
            raise ValueError("the score layer has no style features; install it with style_features")
        with gathered(score.parameters(), write=True), torch.no_grad():
            score.style_reward.copy_(self.style_reward)
            score.style_tie.copy_(self.pair[:-1])
            score.style_similarity.copy_(self.pair[-1:])
            score.tie.bias.copy_(self.tie_bias)


def fit_style(data: StyleData, groups: Sequence[str], link: str, tie_bias: float) -> StyleFit:
    """The fit with the best cross-validated log loss of `PENALTIES`.

    Args:
        groups: [n], battles of one group stay in one fold.
        link: `davidson` or `rao_kupper`.
        tie_bias: where the tie bias starts; it is not penalised.
    """
    part, folds = deal_folds(groups, data.verdicts.numpy())
    fold = torch.from_numpy(part)
    mean_losses = []
    for penalty in PENALTIES:
        losses = torch.empty(len(groups), dtype=torch.float64)
        for number in range(folds):
            held_out = fold == number
            theta = _minimise(data.rows(~held_out), link, tie_bias, penalty)
            losses[held_out] = _battle_losses(data.rows(held_out), theta, link)
        mean_losses.append((float(losses.mean()), penalty))
    log_loss, penalty = min(mean_losses)
    theta = _minimise(data, link, tie_bias, penalty)
    features = data.difference.shape[1]
    return StyleFit(theta[:features], theta[features:-1], theta[-1:], penalty, log_loss)


def tie_bias_of(prior: np.ndarray, link: str) -> float:
    """The tie strength that gives the tie rate seen, where neither side is ahead. prior: float [3], shares of A, B, tie."""
    tie = float(np.clip(prior[2], 0.01, 0.98))
    return float(from_probabilities(torch.tensor([(1 - tie) / 2, (1 - tie) / 2, tie]), link)[1])


def start_from_style(score: TieAwareScore, data: TrainingData, link: str) -> StyleFit:
    """Fits style alone to the training part's verdicts and puts the weights into the score layer.

    Raises: ValueError for data without style.
    """
    style, scale = data.train.style, data.scale
    if style is None or scale is None:
        raise ValueError("the battles' style was not counted; make the training data with style=True")
    difference = scale.side.apply(style.a).astype(np.float64) - scale.side.apply(style.b)
    arrays = (difference, scale.pair.apply(style.pair), data.train.verdicts)
    columns = StyleData(*(torch.from_numpy(np.asarray(values, dtype=np.float64)) for values in arrays))
    fitted = fit_style(columns, data.train.groups, link, tie_bias_of(data.prior, link))
    fitted.copy_to(score)
    return fitted


def _battle_losses(data: StyleData, theta: torch.Tensor, link: str) -> torch.Tensor:
    features = data.difference.shape[1]
    margin = data.difference @ theta[:features]
    tie_strength = data.pair @ theta[features:-1] + theta[-1]
    return cross_entropy(log_probabilities(margin, tie_strength, link), data.verdicts)


def _minimise(data: StyleData, link: str, tie_bias: float, penalty: float) -> torch.Tensor:
    """Weights [2F + 2] that minimise mean loss + penalty / 2 · |weights|², the tie bias left free."""
    features = data.difference.shape[1]
    theta = torch.zeros(2 * features + 2, dtype=torch.float64)
    theta[-1] = tie_bias
    theta.requires_grad_(True)
    optimizer = torch.optim.LBFGS([theta], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = _battle_losses(data, theta, link).mean() + penalty / 2 * theta[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return theta.detach()
