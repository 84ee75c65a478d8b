"""Where the score layer starts: at the tie rate seen, and at the best fit of style alone, before any text is read.

A battle's length and formatting say much about its verdict and are few numbers, so a convex fit finds what they say in
seconds. Training then starts from there, and the reward has only what style does not explain left to learn. Left to start
from nothing, the head would be learned at the pace of the backbone, which meanwhile learns length itself. Where a model
starts from another's weights, the ridge pulls to that one's style instead of to 0.

The ridge penalty is chosen by cross-validation over groups (Hastie, Tibshirani & Friedman 2009, sections 3.4 and 7.10).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import softplus

from arena_data.splits.folds import deal_folds
from reward_model.model.losses import cross_entropy
from reward_model.model.score_layer import TieAwareScore, gathered
from reward_model.model.source_offsets import START, SourceInputs, source_losses
from reward_model.model.style_head import StyleScale
from reward_model.model.tie_links import from_probabilities, log_probabilities
from reward_model.train.dataset import TrainingPart

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_STEPS = 60


class StyleData(NamedTuple):
    """What the fit reads.

    Args:
        difference: float64 [n, F], of A and B.
        pair: float64 [n, F + 1].
        verdicts: float64 [n, 3].
        inputs: what the battles' sources say of them; None where all are our own and none is graded.
        sources, levels: how many other sources there are, and the most grades of one.
    """

    difference: torch.Tensor
    pair: torch.Tensor
    verdicts: torch.Tensor
    inputs: SourceInputs | None = None
    sources: int = 0
    levels: int = 0

    @property
    def own(self) -> torch.Tensor:
        """bool [n]: our own battles."""
        return torch.ones(len(self.verdicts), dtype=torch.bool) if self.inputs is None else self.inputs.source == 0

    def rows(self, chosen: torch.Tensor) -> "StyleData":
        inputs = None if self.inputs is None else self.inputs.rows(chosen)
        difference, pair, verdicts = self.difference[chosen], self.pair[chosen], self.verdicts[chosen]
        return StyleData(difference, pair, verdicts, inputs, self.sources, self.levels)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the parts of the weights: of style, of pairs, the tie bias, the offsets of sources, the gaps of grades."""
        features = self.difference.shape[1]
        return features, features + 1, 1, self.sources, (self.sources + 1) * max(self.levels - 1, 0)


class StyleFit(NamedTuple):
    """Weights for a TieAwareScore: style_reward [F], pair [F + 1] (style_tie, then similarity) and the tie bias.

    With both-bad as an outcome also the absolute zero (`reward_model.train.four_start`).
    """

    style_reward: torch.Tensor
    pair: torch.Tensor
    tie_bias: torch.Tensor
    source_bias: torch.Tensor
    grade_bias: torch.Tensor
    penalty: float
    log_loss: float
    from_centre: bool = False
    zero: torch.Tensor | None = None

    def copy_to(self, score: TieAwareScore) -> None:
        """Raises: ValueError for a score layer without style features."""
        if score.style_reward is None or score.style_tie is None or score.style_similarity is None:
            raise ValueError("the score layer has no style features; install it with style_features")
        with gathered(score.parameters(), write=True), torch.no_grad():
            score.style_reward.copy_(self.style_reward)
            score.style_tie.copy_(self.pair[:-1])
            score.style_similarity.copy_(self.pair[-1:])
            score.tie.bias.copy_(self.tie_bias)
            if score.source_bias is not None:
                score.source_bias.copy_(self.source_bias)
            if score.grade_bias is not None:
                score.grade_bias.copy_(self.grade_bias.view_as(score.grade_bias))
            if score.zero is not None and self.zero is not None:
                score.zero.copy_(self.zero)


def fit_style(
    data: StyleData, groups: Sequence[str], link: str, tie_bias: float, centre: torch.Tensor | None = None
) -> StyleFit:
    """The fit with the best cross-validated log loss of `PENALTIES` on our own battles.

    Args:
        groups: [n], battles of one group stay in one fold.
        link: `davidson` or `rao_kupper`.
        tie_bias: where the tie bias starts; it is not penalised.
        centre: float64 [2F + 1], the weights of style and pairs that the penalty pulls to; 0 if None.
    """
    fits = [(held_out_loss(data, groups, link, tie_bias, penalty, centre), penalty) for penalty in PENALTIES]
    log_loss, penalty = min(fits)
    theta = _minimise(data, link, tie_bias, penalty, centre)
    reward, pair, bias, offsets, gaps = theta.split(data.sizes)
    return StyleFit(reward, pair, bias, offsets, gaps, penalty, log_loss, centre is not None)


def held_out_loss(
    data: StyleData,
    groups: Sequence[str],
    link: str,
    tie_bias: float,
    penalty: float,
    centre: torch.Tensor | None = None,
) -> float:
    """Cross-validated log loss of our own battles; others share no prompt with those that are held out.

    Args: as of `fit_style`.
    """
    own = data.own
    names = np.asarray(groups)
    part, folds = deal_folds(list(names[own.numpy()]), data.verdicts[own].numpy())
    fold = torch.full((len(names),), -1)
    fold[own] = torch.from_numpy(part)
    total = 0.0
    for number in range(folds):
        held_out = fold == number
        elsewhere = torch.from_numpy(~np.isin(names, names[held_out.numpy()])) & ~own
        theta = _minimise(data.rows((own & ~held_out) | elsewhere), link, tie_bias, penalty, centre)
        total += float(_battle_losses(data.rows(held_out)._replace(inputs=None), theta, link).sum())
    return total / int(own.sum())


def tie_bias_of(prior: np.ndarray, link: str) -> float:
    """The tie strength that gives the tie rate seen, where neither side is ahead. prior: float [3], shares of A, B, tie."""
    tie = float(np.clip(prior[2], 0.01, 0.98))
    return float(from_probabilities(torch.tensor([(1 - tie) / 2, (1 - tie) / 2, tie]), link)[1])


def style_data(part: TrainingPart, scale: StyleScale) -> StyleData:
    """What the fit reads of our own battles. Raises: ValueError for battles whose style was not counted."""
    style = part.style
    if style is None:
        raise ValueError("the battles' style was not counted; make the training data with style=True")
    a, b = scale.sides(style)
    pair = scale.pairs(style).astype(np.float64)
    return StyleData(torch.from_numpy(a - b), torch.from_numpy(pair), torch.from_numpy(part.verdicts))


def _battle_losses(data: StyleData, theta: torch.Tensor, link: str) -> torch.Tensor:
    reward, pair, bias, offsets, gaps = theta.split(data.sizes)
    margin, tie_strength = data.difference @ reward, data.pair @ pair + bias
    inputs = data.inputs
    if inputs is None:
        return cross_entropy(log_probabilities(margin, tie_strength, link), data.verdicts)
    tie_strength = tie_strength + torch.cat([offsets.new_zeros(1), offsets])[inputs.source]
    rows = softplus(gaps.view(data.sources + 1, -1))[inputs.source] if data.levels > 1 else None
    return source_losses([(margin, tie_strength)], data.verdicts, link, inputs, rows)


def _minimise(
    data: StyleData, link: str, tie_bias: float, penalty: float, centre: torch.Tensor | None = None
) -> torch.Tensor:
    """Weights [sum of sizes] that minimise mean loss + penalty / 2 · |weights - centre|²; what follows the tie bias, and
    the bias itself, is left free."""
    sizes = data.sizes
    kept = torch.zeros(sizes[0] + sizes[1], dtype=torch.float64) if centre is None else centre
    free = [torch.tensor([tie_bias]), torch.zeros(sizes[3]), torch.full((sizes[4],), START)]
    theta = torch.cat([kept, *(values.double() for values in free)]).requires_grad_(True)
    counted = float(len(data.verdicts) if data.inputs is None else data.inputs.weight.sum())
    optimizer = torch.optim.LBFGS([theta], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        moved = theta[: len(kept)] - kept
        loss = _battle_losses(data, theta, link).sum() / counted + penalty / 2 * moved.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return theta.detach()
