"""Usable responses: what a model with an absolute zero says of single responses, and of battles where both are bad.

Only runs with both-bad as an outcome have such figures (`reward_model.model.four_outcomes`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from arena_data.splits.both_bad import both_bad_of
from arena_data.webpage.page import Group, Section, Table
from reward_model.evaluation.metrics import both_bad_auc
from reward_model.evaluation.resampling import Resampling
from reward_model.report.text import number_text, percent_text

Figures = dict[str, Any]


@dataclass(frozen=True)
class Usable:
    """Of n battles: P(usable) of A and of B, float64 [n] each, and P(both bad), float64 [n]."""

    a: np.ndarray
    b: np.ndarray
    both_bad: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Usable":
        return Usable(self.a[chosen], self.b[chosen], self.both_bad[chosen])


def describe_usable(said: Usable | None, battles: Any, groups: list[str], resampling: Resampling) -> Figures | None:
    """Shares of usable responses and of both bad, predicted and seen; None for a model without an absolute zero.

    What was seen, and the AUC of predicting it, are of battles whose source records that both are bad; None where none does.
    A battle that could not be scored is left out.
    """
    if said is None:
        return None
    scored = np.isfinite(said.both_bad)
    bad = both_bad_of(battles)
    known = scored & np.isfinite(bad)
    filled = {name: np.where(scored, getattr(said, name), 0.0) for name in ("a", "b", "both_bad")}
    chosen = np.flatnonzero(known)
    auc = both_bad_auc(said.both_bad[chosen], bad[chosen], [groups[row] for row in chosen]) if len(chosen) else None
    return {
        "usable": {side: resampling.mean(filled[side], scored) for side in ("a", "b")},
        "both_bad_predicted": resampling.mean(filled["both_bad"], scored),
        "both_bad_predicted_where_seen": resampling.mean(filled["both_bad"], known) if known.any() else None,
        "both_bad_seen": resampling.mean(np.where(known, bad, 0.0), known) if known.any() else None,
        "both_bad_auc": auc and auc.to_json(),
        "responses": [
            [float(a), float(b)] if ok else None for a, b, ok in zip(said.a, said.b, scored.tolist(), strict=True)
        ],
    }


def usable_section(figures: Figures) -> Section:
    """figures: as `describe_usable` gives them."""
    rows = [
        ["usable responses, side A", percent_text(figures["usable"]["a"])],
        ["usable responses, side B", percent_text(figures["usable"]["b"])],
        ["both bad, predicted", percent_text(figures["both_bad_predicted"])],
    ]
    notes = [
        "P(usable) is how likely people prefer a response to no response at all. A response is usable where its reward is "
        "above the absolute zero. Both bad counts as a tie everywhere else on this page."
    ]
    if figures["both_bad_seen"] is None:
        notes.append("No source of these battles records that both responses are bad.")
    else:
        rows += [
            ["both bad, predicted where it is recorded", percent_text(figures["both_bad_predicted_where_seen"])],
            ["both bad, seen there", percent_text(figures["both_bad_seen"])],
            ["AUC of both bad", number_text(figures["both_bad_auc"])],
        ]
    return Section("usable-section", "Usable responses", notes, [Group([], [Table("Usable", ["", "value"], rows)])])
