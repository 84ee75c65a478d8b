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
from reward_model.model.style_head import StyleHead
from reward_model.model.tie_links import log_probabilities
from reward_model.tokens.encoding import Encoding

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BattleScores:
    """What a model says of n battles, float64 [n] each; NaN where a battle could not be scored.

    With a joint encoding there is no reward of one response: half the margin stands for A's, minus half for B's.
    """

    reward_a: FloatArray
    reward_b: FloatArray
    tie_strength: FloatArray

    @property
    def margin(self) -> FloatArray:
        return self.reward_a - self.reward_b

    def log_probs(self, link: str) -> FloatArray:
        """float64 [n, 3], not calibrated; NaN where a battle could not be scored."""
        return log_probabilities(torch.from_numpy(self.margin), torch.from_numpy(self.tie_strength), link).numpy()


def battle_scores(
    scores: npt.ArrayLike, encoding: str, style: StyleArrays | None = None, head: StyleHead | None = None
) -> BattleScores:
    """Battles from their sequences' scores.

    Args:
        scores: float [n, rows, 2], value and tie strength of each sequence of each battle; one row, or both orders, with
            a joint encoding.
        style, head: the battles' features and the run's style head; without them style is left out.

    Raises: ModelError for a head of other features than this code counts.
    """
    values = np.asarray(scores, dtype=np.float64)
    first, last = values[:, 0, 0], values[:, -1, 0]
    tie = values[..., 1].mean(axis=1)
    if encoding == "joint":
        # Averaged antisymmetrically over both orders; with one order the margin is its value.
        margin = (first - last) / 2 if values.shape[1] == 2 else first
        first, last = margin / 2, -margin / 2
    if style is None or head is None:
        return BattleScores(first, last, tie)
    if tuple(head.features) != tuple(RESPONSE_FEATURES):
        raise ModelError("the style head knows other features than this version counts; use --style off")
    weights = np.asarray(head.style_reward, dtype=np.float64)
    style_a, style_b = head.scale.side.apply(style.a) @ weights, head.scale.side.apply(style.b) @ weights
    tie = tie + head.scale.pair.apply(style.pair) @ head.tie_weights.astype(np.float64)
    if encoding == "joint":
        # The joint row's style is a difference, and so is the margin: half of it stands for each side.
        style_a, style_b = (style_a - style_b) / 2, (style_b - style_a) / 2
    return BattleScores(first + style_a, last + style_b, tie)


def margins(rewards: torch.Tensor, encoding: Encoding) -> tuple[torch.Tensor, torch.Tensor]:
    """Margin and tie strength, float32 [battles] each, symmetric in the two rows. rewards: float32 [2, battles, 2]."""
    difference = rewards[0, :, 0] - rewards[1, :, 0]
    scale = 0.5 if encoding == "joint" else 1.0
    return scale * difference, rewards[..., 1].mean(dim=0)
