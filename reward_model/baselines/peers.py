"""What simple systems would say of labelled battles without having seen their verdicts: peers to judge a model by.

Each is fitted on the other folds' prompts of the very battles that are judged. That flatters nobody: a peer has learned
from fewer battles than a model trained elsewhere, but from battles of just this kind. Fitting is limited to `MOST`
battles a fold, because a peer that keeps people waiting is not used.
"""

from collections.abc import Callable, Mapping

import datasets
import numpy as np
from tqdm import tqdm

from arena_data.splits.folds import deal_folds
from reward_model.baselines.base import FloatArray, class_of, verdicts_of
from reward_model.baselines.cross_validation import splits

# What it is called: the kind of baseline.
PEERS: Mapping[str, str] = {
    "class prior": "prior",
    "length alone": "length_buckets",
    "style alone": "style",
    "lexical": "lightgbm",
}
FOLDS = 3
MOST = 4000


def cross_fitted(
    battles: datasets.Dataset,
    peers: Mapping[str, str] = PEERS,
    *,
    seed: int = 0,
    progress: bool = False,
    check: Callable[[], None] = lambda: None,
) -> dict[str, FloatArray]:
    """Log-probabilities by name, float64 [n, 3], each battle's by a fit that has not seen its prompt.

    Args:
        battles: each with a verdict; none is fitted where all are of one prompt. A system that cannot be fitted to them
            is left out, such as one of words where no word comes often enough.
        peers: name to kind of baseline.
        seed: of the folds, and of the battles that are left out beyond `MOST`.
        progress: whether to show a bar.
        check: called before each fit; what it raises ends the fitting.
    """
    part, _ = deal_folds(battles["group"], verdicts_of(battles), seed, FOLDS)
    parts = list(splits(part))
    log_probs_of: dict[str, FloatArray] = {}
    random = np.random.default_rng(seed)
    chosen = [random.permutation(fitted)[:MOST] for fitted, _ in parts]
    with tqdm(total=len(peers) * len(parts), desc="Peers", unit="fit", disable=not progress) as bar:
        for name, kind in peers.items() if parts else ():
            log_probs = np.zeros((len(battles), 3))
            try:
                for fitted, (_, held_out) in zip(chosen, parts, strict=True):
                    check()
                    peer = class_of(kind)()
                    peer.fit(battles.select(np.sort(fitted)))
                    log_probs[held_out] = peer.log_probabilities(battles.select(held_out))
                    bar.update()
            except ValueError:  # what scikit-learn raises for too few texts, words or classes
                continue
            log_probs_of[name] = log_probs
    return log_probs_of
