"""The two systems that look at nothing, or at lengths only: what every other one has to beat.

Length buckets follow a public notebook of the LMSYS competition (1.0511 on its full data): the mean verdict of the
battles whose answers differ in length by about as much. Here the longer answer's side is taken out first, so 125 buckets
do the work of 250; how many there are, how far each is drawn to the mean of all (as if `strength` battles had voted like
all) and how much neighbours share are chosen by cross-validation.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import datasets
import numpy as np

from arena_data.file_io import json_object, read_json, write_json
from arena_data.splits.folds import deal_folds
from reward_model.baselines.base import Baseline, FloatArray, verdicts_of
from reward_model.baselines.cross_validation import choose
from reward_model.baselines.swap import LEAST, TURNED
from reward_model.evaluation.probabilities import row_losses

STATE = "state.json"


@dataclass
class Prior(Baseline):
    """The training battles' shares, those of A and B averaged."""

    kind: ClassVar[str] = "prior"

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        self.shares = side_free(verdicts_of(battles).mean(axis=0))

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        return np.tile(np.log(self.shares), (len(battles), 1))

    def save_state(self, directory: Path) -> None:
        write_json(directory / STATE, {"shares": self.shares.tolist()})

    def load_state(self, directory: Path) -> None:
        self.shares = np.asarray(read_json(directory / STATE, json_object)["shares"], dtype=np.float64).reshape(3)


class BucketSettings(NamedTuple):
    """measure: what the lengths' difference is measured in; buckets: how many; strength: battles; width: buckets."""

    measure: str
    buckets: int
    strength: float
    width: float


@dataclass
class LengthBuckets(Baseline):
    """The mean verdict, as (longer, shorter, tie), of each quantile of the difference in length.

    Args:
        max_buckets: the most quantiles that are tried.
    """

    kind: ClassVar[str] = "length_buckets"
    max_buckets: int = 125

    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        verdicts = verdicts_of(battles)
        part, _ = deal_folds(battles["group"], verdicts)
        lengths = lengths_of(battles)
        measured = {name: measure(lengths, name) for name in MEASURES}
        counts = [count for count in (5, 8, 12, 20, 32, 50, 80, 125, 250, 500) if count <= self.max_buckets]
        if not counts:
            raise ValueError(f"max_buckets is {self.max_buckets}; expected at least 5")
        candidates = [
            BucketSettings(*values)
            for values in itertools.product(MEASURES, counts, (1.0, 5.0, 20.0, 60.0, 200.0), (0.0, 1.0, 2.0, 4.0, 8.0))
        ]

        def held_out(settings: BucketSettings, fitted: np.ndarray, rest: np.ndarray) -> FloatArray:
            values = measured[settings.measure]
            edges, means = _fit_buckets(values[fitted], verdicts[fitted], settings)
            return row_losses(_look_up(values[rest], edges, means), verdicts[rest])

        self.settings, _ = choose(candidates, part, held_out)
        self.edges, self.means = _fit_buckets(measured[self.settings.measure], verdicts, self.settings)

    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        return _look_up(measure(lengths_of(battles), self.settings.measure), self.edges, self.means)

    def save_state(self, directory: Path) -> None:
        state = {**self.settings._asdict(), "edges": self.edges.tolist(), "means": self.means.tolist()}
        write_json(directory / STATE, state)

    def load_state(self, directory: Path) -> None:
        state = read_json(directory / STATE, json_object)
        self.settings = BucketSettings(*(state[name] for name in BucketSettings._fields))
        self.edges = np.asarray(state["edges"], dtype=np.float64)
        self.means = np.asarray(state["means"], dtype=np.float64).reshape(len(self.edges) + 1, 3)


MEASURES = ("characters", "log_ratio")


def lengths_of(battles: datasets.Dataset) -> FloatArray:
    """float64 [n, 2]: characters of all turns of A and of B."""
    sides = [
        [sum(len(turn or "") for turn in turns) for turns in battles[side]] for side in ("response_a", "response_b")
    ]
    return np.asarray(sides, dtype=np.float64).reshape(2, -1).T


def measure(lengths: FloatArray, name: str) -> FloatArray:
    """float64 [n]: how much longer A is than B, in characters or as the logarithm of the ratio."""
    lengths = lengths if name == "characters" else np.log1p(lengths)
    return lengths[:, 0] - lengths[:, 1]


def side_free(shares: FloatArray) -> FloatArray:
    """Shares [..., 3] with those of A and B averaged, none below `LEAST`, summing to 1."""
    averaged = np.maximum((shares + shares[..., TURNED]) / 2, LEAST)
    normalised: FloatArray = averaged / averaged.sum(axis=-1, keepdims=True)
    return normalised


def _fit_buckets(
    difference: FloatArray, verdicts: FloatArray, settings: BucketSettings
) -> tuple[FloatArray, FloatArray]:
    """Edges [k - 1] between quantiles of the absolute difference, and mean verdicts [k, 3] as (longer, shorter, tie)."""
    size = np.abs(difference)
    edges = np.unique(np.quantile(size, np.linspace(0, 1, settings.buckets + 1)[1:-1]))
    bucket = np.searchsorted(edges, size, side="right")
    oriented = np.where((difference >= 0)[:, None], verdicts, verdicts[:, TURNED])
    sums = np.stack([np.bincount(bucket, oriented[:, column], len(edges) + 1) for column in range(3)], axis=1)
    count = np.bincount(bucket, minlength=len(edges) + 1).astype(np.float64)
    if settings.width > 0:
        place = np.arange(len(count))
        kernel = np.exp(-(((place[:, None] - place) / settings.width) ** 2) / 2)
        sums, count = kernel @ sums, kernel @ count
    means = (sums + settings.strength * oriented.mean(axis=0)) / (count + settings.strength)[:, None]
    means = np.maximum(means, LEAST)
    return edges, means / means.sum(axis=1, keepdims=True)


def _look_up(difference: FloatArray, edges: FloatArray, means: FloatArray) -> FloatArray:
    shares = means[np.searchsorted(edges, np.abs(difference), side="right")]
    shares = np.where((difference >= 0)[:, None], shares, shares[:, TURNED])
    return np.log(np.where((difference == 0)[:, None], side_free(shares), shares))
