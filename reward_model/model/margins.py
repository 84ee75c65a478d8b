"""From scores of sequences to battles: rewards, margin, tie strength, and log-probabilities by the run's tie link.

The model gives value and tie strength without style. Style is added here, from `style_head.safetensors`, because it is a
sum: closing the door (`style=None`) needs no second pass, and equal responses of different battles are read once.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from arena_data.style.features import RESPONSE_FEATURES, StyleArrays
from reward_model.errors import ModelError
from reward_model.model.four_outcomes import four_log_probabilities, rewards_and_tie, three_class
from reward_model.model.style_head import StyleHead
from reward_model.model.tie_links import log_probabilities
from reward_model.tokens.encodings import Encoding

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BattleScores:
    """What a model says of n battles, float64 [n] each; NaN where a battle could not be scored.

    With a joint encoding there is no reward of one response: half the margin stands for A's, minus half for B's.
    Where both-bad is an outcome the scores are `grounded`: rewards count from the absolute zero.
    """

    reward_a: FloatArray
    reward_b: FloatArray
    tie_strength: FloatArray
    grounded: bool = False

    @property
    def margin(self) -> FloatArray:
        return self.reward_a - self.reward_b

    def log_probs(self, link: str) -> FloatArray:
        """float64 [n, 3], not calibrated; NaN where a battle could not be scored."""
        tie_strength = torch.from_numpy(self.tie_strength)
        if self.grounded:
            a, b = torch.from_numpy(self.reward_a), torch.from_numpy(self.reward_b)
            return log_probabilities(*three_class(a, b, tie_strength, link), link).numpy()
        return log_probabilities(torch.from_numpy(self.margin), tie_strength, link).numpy()

    def both_bad(self, link: str) -> FloatArray:
        """P(both bad), float64 [n], of grounded scores; not calibrated."""
        assert self.grounded
        a, b, tie = (torch.from_numpy(values) for values in (self.reward_a, self.reward_b, self.tie_strength))
        return four_log_probabilities(a, b, tie, link)[:, 3].exp().numpy()


def battle_scores(
    scores: npt.ArrayLike,
    encoding: Encoding,
    style: StyleArrays | None = None,
    head: StyleHead | None = None,
    *,
    grounded: bool = False,
) -> BattleScores:
    """Battles from their sequences' scores.

    Args:
        scores: float [n, rows, 2], value and tie strength of each sequence of each battle, as many as `rows_read` says.
        encoding: what a sequence holds.
        style, head: the battles' features and the run's style head; without them style is left out.
        grounded: the run has both-bad as an outcome.

    Raises: ModelError for a head of other features than this code counts.
    """
    rows = np.moveaxis(np.asarray(scores, dtype=np.float64), 1, 0)
    values, tie = list(rows[..., 0]), rows[..., 1].mean(axis=0)
    if style is not None and head is not None:
        if tuple(head.features) != tuple(RESPONSE_FEATURES):
            raise ModelError("the style head knows other features than this version counts; use --style off")
        # In float64, so that what A and B share cancels.
        a, b = head.scale.sides(style)
        weights = np.asarray(head.style_reward, dtype=np.float64)
        styled = zip(values, encoding.style_of_rows(a, b), strict=False)
        values = [value + features @ weights for value, features in styled]
        tie = tie + head.scale.pairs(style) @ head.tie_weights.astype(np.float64)
    return BattleScores(*encoding.sides(values), tie, grounded)


def margins(
    rewards: torch.Tensor, encoding: Encoding, grounded_link: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Margin and tie strength, float32 [battles] each, symmetric in the two rows.

    Args:
        rewards: float32 [2, battles, 2].
        grounded_link: the tie link where both-bad is an outcome, which counts as a tie here.
    """
    if grounded_link is not None:
        return three_class(*rewards_and_tie(rewards), grounded_link)
    margin, tie_strength = zip(*encoding.readings(rewards[..., 0].unbind(), rewards[..., 1].unbind()), strict=True)
    return torch.stack(margin).mean(dim=0), torch.stack(tie_strength).mean(dim=0)
