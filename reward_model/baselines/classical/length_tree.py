"""A decision tree on lengths alone: the buckets' rival that may look at turns and at the prompt.

Trained on both orders, asked about both. How small a leaf may be and how far its shares are drawn to the shares of all
(as if `strength` battles had voted like all) are chosen by cross-validation.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import datasets
import numpy as np
from sklearn.tree import DecisionTreeClassifier

from arena_data.file_io import json_object, read_json, write_json
from arena_data.splits.folds import deal_folds
from arena_data.style.lengths import length_features, summarise
from reward_model.baselines import skops_files
from reward_model.baselines.base import Baseline, FloatArray, verdicts_of
from reward_model.baselines.classical.lengths import STATE, side_free
from reward_model.baselines.cross_validation import choose
from reward_model.baselines.swap import both_orders, from_both_orders, labels_of
from reward_model.evaluation.probabilities import row_losses

TREE = "tree.skops"
# The lengths' differences, in characters and as logarithms, of all turns together and of the longest.
_DIFFERENCES = ("length_sum", "length_log_sum", "length_mean", "length_log_max")


class TreeSettings(NamedTuple):
    """leaf: the fewest battles in a leaf, of both orders; strength: battles."""

    leaf: int
    strength: float


@dataclass
class LengthTree(Baseline):
    """A decision tree on the lengths of the prompt and of both answers."""

    kind: ClassVar[str] = "length_tree"

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        verdicts = verdicts_of(battles)
        part, _ = deal_folds(battles["group"], verdicts)
        orders = _orders(battles)
        candidates = [
            TreeSettings(*values) for values in itertools.product((10, 20, 40, 80, 160, 320), (0.0, 10.0, 30.0, 100.0))
        ]

        def held_out(settings: TreeSettings, rows: np.ndarray, rest: np.ndarray) -> FloatArray:
            tree = _grow((orders[0][rows], orders[1][rows]), verdicts[rows], settings)
            shares = side_free(verdicts[rows].mean(axis=0))
            return row_losses(_predict(tree, (orders[0][rest], orders[1][rest]), settings, shares), verdicts[rest])

        self.settings, _ = choose(candidates, part, held_out)
        self.shares = side_free(verdicts.mean(axis=0))
        self.tree = _grow(orders, verdicts, self.settings)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        return _predict(self.tree, _orders(battles), self.settings, self.shares)

    def save_state(self, directory: Path) -> None:
        skops_files.save(directory / TREE, self.tree)
        write_json(directory / STATE, {**self.settings._asdict(), "shares": self.shares.tolist()})

    def load_state(self, directory: Path) -> None:
        state = read_json(directory / STATE, json_object)
        self.settings = TreeSettings(*(state[name] for name in TreeSettings._fields))
        self.shares = np.asarray(state["shares"], dtype=np.float64).reshape(3)
        self.tree = skops_files.load(directory / TREE)


Orders = tuple[FloatArray, FloatArray]


def _orders(battles: datasets.Dataset) -> Orders:
    """Features [n, 10] of the battles as they are, and of the same with A and B exchanged."""
    rows = []
    for row in battles.select_columns(["prompt", "response_a", "response_b"]):
        prompt, *sides = ([turn or "" for turn in row[name]] for name in ("prompt", "response_a", "response_b"))
        a, b = (length_features(prompt, side) for side in sides)
        asked = summarise([len(turn) for turn in prompt])
        difference = [a[name] - b[name] for name in _DIFFERENCES]
        rows.append([*difference, a["length_log_sum"], b["length_log_sum"], np.log1p(asked.total), len(prompt)])
    given = np.asarray(rows, dtype=np.float64).reshape(len(rows), len(_DIFFERENCES) + 4)
    turned = given.copy()
    turned[:, : len(_DIFFERENCES)] *= -1
    first = len(_DIFFERENCES)
    turned[:, [first, first + 1]] = given[:, [first + 1, first]]
    return given, turned


def _grow(orders: Orders, verdicts: FloatArray, settings: TreeSettings) -> DecisionTreeClassifier:
    row, label, weight = labels_of(verdicts)
    tree = DecisionTreeClassifier(criterion="log_loss", min_samples_leaf=settings.leaf, random_state=0)
    return tree.fit(both_orders(*orders)[row], label, sample_weight=weight)


def _predict(tree: DecisionTreeClassifier, orders: Orders, settings: TreeSettings, shares: FloatArray) -> FloatArray:
    answers = []
    for features in orders:
        predicted = np.zeros((len(features), 3))
        if len(features):
            predicted[:, tree.classes_] = tree.predict_proba(features)
            count = tree.tree_.weighted_n_node_samples[tree.apply(features)][:, None]
            predicted = (count * predicted + settings.strength * shares) / (count + settings.strength)
        answers.append(predicted)
    return from_both_orders(*answers)
