"""The language of a battle, and whether the model treats languages as people do.

The file's own word for the language is taken where it has one. Where it has none (the Kaggle sets), the script that most
letters of the conversation are written in says it, and the commonest English words tell English from other languages
written in Latin letters. That is rough, but it needs no model and is never far off for a group as a whole.
"""

from collections import Counter
from typing import Any

import numpy as np

from reward_model.audit.observed import LEAST_BATTLES, compare_means, compare_slopes, win_share
from reward_model.evaluation.resampling import Resampling

Figures = dict[str, Any]

SHOWN = 8


def describe_languages(
    languages: list[str], resampling: Resampling, model: np.ndarray, people: np.ndarray, doublings: np.ndarray
) -> list[Figures]:
    """Ties and the pull of length, by language, most frequent first; those of few battles together.

    model, people: float [n, 3], probabilities and verdicts.
    """
    names = np.array(languages, dtype=object)
    counts = sorted(Counter(languages).items(), key=lambda item: (-item[1], item[0]))
    shown = [name for name, count in counts[:SHOWN] if count >= LEAST_BATTLES]
    groups = [(name, names == name) for name in shown]
    if rest := [name for name, _ in counts if name not in shown]:
        groups.append((rest[0] if len(rest) == 1 else f"{len(rest)} others", ~np.isin(names, shown)))
    model_share, people_share = (win_share(three) - 0.5 for three in (model, people))
    return [
        {
            "language": name,
            "battles": int(inside.sum()),
            "tie": compare_means(resampling, model[:, 2], people[:, 2], inside),
            "per_doubling": compare_slopes(resampling, model_share, people_share, np.where(inside, doublings, 0.0)),
        }
        for name, inside in groups
    ]
