"""Swap averaging where the first order leaves a battle undecided: `--swap_average 0.33` reads a third of them again.

A joint encoding reads [prompt, A, B], and its answer depends a little on the order. Reading [prompt, B, A] too and averaging
removes that, for twice the time. It changes the answer most where the margin is small, so the share of battles with the
smallest margins is read again and the others are not.
Margins are averaged with their signs turned, tie strengths as they are:

    d = ½(d_AB − d_BA)        τ = ½(τ_AB + τ_BA)

Averages of these are swap-exact under every tie link, and training in both orders averages the same. For Davidson's link
they equal averages of log-probabilities that are made to sum to 1 again; for Rao and Kupper's those would leave its family.
"""

import datasets
import numpy as np
import numpy.typing as npt

from reward_model.evaluation.probabilities import FloatArray

IntArray = npt.NDArray[np.int64]


def unsure_battles(margin: FloatArray, share: float) -> IntArray:
    """Places of the share of battles with the smallest margins, in order; none that could not be scored.

    Args:
        margin: float64 [n], NaN where a battle could not be scored. Of equal margins the first come first.
        share: 0 to 1, of all n.
    """
    wanted = min(round(share * len(margin)), int(np.isfinite(margin).sum()))
    smallest = np.argsort(np.where(np.isfinite(margin), np.abs(margin), np.inf), kind="stable")
    return np.sort(smallest[:wanted]).astype(np.int64)


def with_swapped_responses(battles: datasets.Dataset, places: IntArray) -> datasets.Dataset:
    """The battles in these places, A and B exchanged; no text is copied."""
    names = {"response_a": "response_b", "response_b": "response_a"}
    return battles.select_columns(["prompt", *names]).select(places.tolist()).rename_columns(names)


def both_orders(
    first: npt.NDArray[np.float32], places: IntArray, second: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], IntArray]:
    """Scores of both orders of every battle; the second of one that is read once mirrors its first, so it changes nothing.

    Args:
        first: float32 [n, 1, 2], value and tie strength of each battle in its order.
        places: int64 [k], the battles that were read again.
        second: float32 [k, 1, 2], their scores in the other order; NaN where there are none.

    Returns: float32 [n, 2, 2], as `reward_model.model.margins.battle_scores` takes them; places that stayed with one order.
    """
    scores = np.concatenate([first, first * np.array([-1, 1], dtype=np.float32)], axis=1)
    scored = np.isfinite(second).all(axis=(1, 2))
    scores[places[scored], 1] = second[scored, 0]
    return scores, places[~scored]
