"""What a Davidson regression learns from: our battles, and those of other sources, which must not spoil them.

A source that never recorded a tie tells who wins given that nobody ties; one with a tie rate of its own has an offset of its
own (`reward_model.baselines.regression.davidson`). Its judges like other things than ours do: each source has weights of
its own, and cross-validation on our battles chooses how closely they are held to ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from reward_model.baselines.base import FloatArray, verdicts_of
from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.davidson import Design, Weights
from reward_model.evaluation.probabilities import row_losses

if TYPE_CHECKING:
    import datasets

IntArray = npt.NDArray[np.int64]
# odd [n, P] and even [n, Q] of n battles.
Features = tuple[FloatArray, FloatArray]

# Of the penalty on what a source likes otherwise than we do, as a multiple of that on our weights. 0: other sources are left
# out. The larger, the more they are as battles of our own.
CLOSENESS = (0.0, 0.1, 0.3, 1.0)


class Sample(NamedTuple):
    """design, verdicts float64 [n, 3] and groups str [n] of all battles; the first `own` are ours; sources by name."""

    design: Design
    verdicts: FloatArray
    groups: npt.NDArray[np.str_]
    own: int
    sources: list[str]

    @property
    def ours(self) -> IntArray:
        return np.arange(self.own)

    @property
    def others(self) -> int:
        return len(self.verdicts) - self.own

    def fit(self, rows: IntArray, penalty: float | FloatArray, closeness: float) -> Weights:
        """On these of our battles, and on others' that share no prompt with the rest of ours.

        Args:
            rows: int64 [m], places among ours.
            penalty: beside the mean log loss of our battles; the same penalty whatever the number of others.
            closeness: one of `CLOSENESS`, or any number above 0.
        """
        rest = np.setdiff1d(self.ours, rows)
        others = self.own + np.flatnonzero(~np.isin(self.groups[self.own :], self.groups[rest]))
        chosen = np.concatenate([rows, others]) if closeness > 0 else rows
        share = len(rows) / len(chosen)
        return davidson.fit(
            self.design.rows(chosen), self.verdicts[chosen], np.multiply(penalty, share), closeness=closeness or None
        )

    def held_out_losses(
        self, rows: IntArray, rest: IntArray, penalty: float | FloatArray, closeness: float
    ) -> FloatArray:
        """float64 [len(rest)]: the log loss of our battles `rest` by a fit on our battles `rows`."""
        weights = self.fit(rows, penalty, closeness)
        return row_losses(davidson.log_probabilities(self.design.rows(rest), weights), self.verdicts[rest])


def sample_of(
    battles: datasets.Dataset, features: Features, extra: datasets.Dataset | None, extra_features: Features | None
) -> Sample:
    """A source without a single tie is taken not to have recorded them."""
    verdicts, groups = verdicts_of(battles), np.asarray(list(battles["group"]), dtype=str)
    if not extra or extra_features is None:
        return Sample(Design.plain(*features), verdicts, groups, len(verdicts), [])
    names, row = np.unique(np.asarray(list(extra["source"])), return_inverse=True)
    more_verdicts = verdicts_of(extra)
    ties = np.bincount(row, weights=more_verdicts[:, 2], minlength=len(names))
    own = Design.plain(*features, len(names))
    more = Design(*extra_features, np.eye(len(names))[row], (ties > 0)[row])
    return Sample(
        Design(*(np.concatenate(pair) for pair in zip(own, more, strict=True))),
        np.concatenate([verdicts, more_verdicts]),
        np.concatenate([groups, np.asarray(list(extra["group"]), dtype=str)]),
        len(verdicts),
        names.tolist(),
    )
