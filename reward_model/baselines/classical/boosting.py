"""Boosted trees on word counts and text statistics, as in the competition's public LightGBM notebooks.

A battle's row holds both answers' style features, their differences and similarity, the prompt's length and turns, and the
differences of word counts. Both orders in training, both asked in prediction. One model a grouped fold, each stopped early
by the log loss of the fold it has not seen; the answer is the mean of their probabilities. `--search` looks for
parameters with Optuna on those same folds of the training battles.

Source: Ke et al. (2017), "LightGBM", https://lightgbm.readthedocs.io/en/stable/Parameters.html; https://optuna.org.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import lightgbm
import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from arena_data.file_io import content_hash, json_object, read_json, write_atomically, write_json
from arena_data.splits.folds import deal_folds
from arena_data.style.features import STYLE_VERSION, style_arrays
from reward_model.baselines import skops_files
from reward_model.baselines.base import Baseline, FloatArray, verdicts_of
from reward_model.baselines.classical.lengths import STATE
from reward_model.baselines.classical.lightgbm_text import checked
from reward_model.baselines.cross_validation import splits
from reward_model.baselines.swap import both_orders, from_both_orders, labels_of
from reward_model.evaluation.probabilities import row_losses

VECTORISER = "vectoriser.skops"
# Shallow trees and few leaves: a vote is noise for the most part.
DEFAULTS: dict[str, float] = {
    "learning_rate": 0.03,
    "num_leaves": 8,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "lambda_l2": 10.0,
}
_FIXED: dict[str, Any] = {
    "objective": "multiclass",
    "num_class": 3,
    "bagging_freq": 1,
    "verbosity": -1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
}
Orders = tuple[sparse.csr_matrix, sparse.csr_matrix]


@dataclass
class BoostedTrees(Baseline):
    """LightGBM on CountVectorizer and text statistics.

    Args:
        max_features: words that are counted, the most frequent ones.
        min_df: texts that a word must be in.
        rounds: the most trees; early stopping decides.
        patience: trees without a better log loss before a model stops.
        search: Optuna trials; 0 takes the parameters that are set.
    """

    kind: ClassVar[str] = "lightgbm"
    versions: ClassVar[dict[str, int]] = {"style": STYLE_VERSION}
    max_features: int = 1_000
    min_df: int = 10
    rounds: int = 1_500
    patience: int = 60
    search: int = 0

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        verdicts = verdicts_of(battles)
        part, _ = deal_folds(battles["group"], verdicts)
        texts = _texts(battles)
        self.vectoriser = CountVectorizer(max_features=self.max_features, min_df=self.min_df, binary=True)
        self.vectoriser.fit([text for side in texts for text in side])
        orders = self._orders(battles)
        self.parameters = dict(DEFAULTS)
        if self.search:
            self.parameters = _searched(orders, verdicts, part, self)
        self.models, self.log_loss = _fit_folds(orders, verdicts, part, self.parameters, self)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        return _predict(self.models, self._orders(battles))

    def save_state(self, directory: Path) -> None:
        skops_files.save(directory / VECTORISER, self.vectoriser)
        hashes = []
        for number, model in enumerate(self.models):
            file = directory / f"model_{number}.txt"
            write_atomically(file, model.model_to_string())
            hashes.append(content_hash(file))
        write_json(directory / STATE, {"models": len(self.models), "parameters": self.parameters, "hashes": hashes})

    def load_state(self, directory: Path) -> None:
        state = read_json(directory / STATE, json_object)
        self.vectoriser = skops_files.load(directory / VECTORISER)
        self.parameters = state["parameters"]
        self.models = []
        if int(state["models"]) < 1:
            raise ValueError(f"it has {state['models']} models")
        hashes = state.get("hashes")  # a digit that has changed gives other numbers; older directories have none
        for number in range(int(state["models"])):
            file = directory / f"model_{number}.txt"
            if hashes is not None and content_hash(file) != hashes[number]:
                raise ValueError(f"{file.name} is not the file that was written")
            self.models.append(lightgbm.Booster(model_str=checked(file.read_text(encoding="utf-8"))))

    def _orders(self, battles: datasets.Dataset) -> Orders:
        """Features of the battles as they are, and of the same with A and B exchanged."""
        style = style_arrays(battles, progress=False)
        asked = [[sum(map(len, map(str, turns))), len(turns)] for turns in battles["prompt"]]
        prompt = np.asarray(asked, dtype=np.float64).reshape(-1, 2)
        if len(battles):
            a, b = (self.vectoriser.transform(side) for side in _texts(battles))
        else:
            a = b = sparse.csr_matrix((0, len(self.vectoriser.vocabulary_)))
        same = np.column_stack([np.abs(style.a - style.b), style.similarity, prompt])

        def order(first: Any, second: Any, words: Any) -> sparse.csr_matrix:
            dense = sparse.csr_matrix(np.column_stack([first - second, first, second, same]))
            return sparse.hstack([dense, words], format="csr")

        return order(style.a, style.b, a - b), order(style.b, style.a, b - a)


def _texts(battles: datasets.Dataset) -> list[list[str]]:
    sides = ("response_a", "response_b")
    return [["\n".join(turn or "" for turn in turns) for turns in battles[side]] for side in sides]


def _predict(models: list[lightgbm.Booster], orders: Orders) -> FloatArray:
    if orders[0].shape[0] == 0:
        return np.zeros((0, 3))
    means = [np.mean([model.predict(features) for model in models], axis=0) for features in orders]
    return from_both_orders(means[0], means[1])


def _fit_folds(
    orders: Orders, verdicts: FloatArray, part: np.ndarray, parameters: dict[str, float], options: BoostedTrees
) -> tuple[list[lightgbm.Booster], float]:
    """One model a fold, and the mean log loss of all battles, each by the model that has not seen it."""
    models, held_out = [], []
    for rows, rest in splits(part) if len(np.unique(part)) > 1 else [(np.arange(len(part)),) * 2]:
        sets = []
        for chosen in (rows, rest):
            row, label, weight = labels_of(verdicts[chosen])
            features = both_orders(orders[0][chosen], orders[1][chosen])[row]
            sets.append(lightgbm.Dataset(features, label, weight=weight, free_raw_data=False))
        model = lightgbm.train(
            {**_FIXED, **parameters},
            sets[0],
            num_boost_round=options.rounds,
            valid_sets=[sets[1]],
            callbacks=[lightgbm.early_stopping(options.patience, verbose=False)],
        )
        models.append(model)
        held_out.append(row_losses(_predict([model], (orders[0][rest], orders[1][rest])), verdicts[rest]))
    return models, float(np.concatenate(held_out).mean())


def _searched(orders: Orders, verdicts: FloatArray, part: np.ndarray, options: BoostedTrees) -> dict[str, float]:
    """The best of `options.search` trials of Optuna, of which the parameters that are set are the first."""
    import optuna  # slow to import, and of use to this only

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def trial_loss(trial: Any) -> float:
        parameters = {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.1, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 3, 32, log=True),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 200, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.05, 1.0, log=True),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
            "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 100.0, log=True),
        }
        return _fit_folds(orders, verdicts, part, parameters, options)[1]

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial(DEFAULTS)
    study.optimize(trial_loss, n_trials=options.search, show_progress_bar=True)
    return dict(study.best_params)
