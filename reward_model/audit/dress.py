"""Best of n under dress: the same answer plain and in several dresses, and which of them the judge picks.

A policy that is trained or chosen by a reward finds whatever the reward pays for. Here nothing but dress can be found: the
copies say the same in Markdown, in more words, with flattery, or in all three. A judge of content has no favourite, and
picks a dressed copy as often as chance: n of n + 1 times among n dressed copies and the plain one.

    win share   P(dressed wins) + ½ P(tie) of a dressed copy against the plain one; ½ is indifference
    picked      how often the dressed copy is preferred; half where the judge prefers neither
    sway        the largest distance of a win share from ½, position's included

Source: Gao, Schulman & Hilton (2023), "Scaling Laws for Reward Model Overoptimization", for best of n as optimisation; the
dresses are those of `reward_model.audit.counterfactuals` and `reward_model.audit.markup`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from arena_data.schema import FEATURES
from arena_data.style.languages import reads_as_english
from reward_model.audit.counterfactuals import Change, changed_turns, flattering, padded
from reward_model.audit.markup import with_bold, with_headings, with_lists
from reward_model.audit.observed import win_share
from reward_model.evaluation.resampling import Estimate, Resampling

Figures = dict[str, Any]

_POOL = 4  # battles looked at, as a multiple of the number wanted


def in_markdown(text: str) -> str:
    """With headings, lists and bold, where the text bears them."""
    return with_headings(with_bold(with_lists(text)))


def in_full_dress(text: str) -> str:
    """In more words, in Markdown, with flattery on top."""
    return flattering(in_markdown(padded(text)))


@dataclass(frozen=True)
class Dress:
    """One dress. name: its key in the figures; label: the copy in a few words; change: text to text."""

    name: str
    label: str
    change: Change


DRESSES: tuple[Dress, ...] = (
    Dress("markdown", "in Markdown", in_markdown),
    Dress("longer", "in more words", padded),
    Dress("flattery", "with flattery", flattering),
    Dress("all", "in all three", in_full_dress),
)


@dataclass(frozen=True)
class DressTrial:
    """rows: int [k], of the battles; dressed: [k], the side that is dressed; battles: one set of k for each dress."""

    rows: np.ndarray
    dressed: list[str]
    battles: list[datasets.Dataset]


def dress_trial(battles: datasets.Dataset, order: np.ndarray, most: int) -> DressTrial:
    """At most `most` battles of a response against itself, one of the two dressed, A and B in turn.

    Args:
        battles: whose English responses are taken, A's and B's in turn, where every dress changes something.
        order: int, a permutation of the rows, in which they are looked at.
        most: of each dress.
    """
    pool = battles.select(order[: _POOL * most])
    rows: list[int] = []
    texts: list[tuple[Any, list[Any]]] = []
    for place, row in enumerate(pool.select_columns(["response_a", "response_b"])):
        if len(rows) == most:
            break
        turns = row["response_a" if len(rows) % 2 == 0 else "response_b"]
        changed = [changed_turns(turns, dress.change) for dress in DRESSES]
        whole = "\n".join(turn or "" for turn in turns or ())
        if reads_as_english(whole) and all(copy != list(turns or ()) for copy in changed):
            rows.append(place)
            texts.append((turns, changed))
    dressed = ["ab"[number // 2 % 2] for number in range(len(rows))]
    return DressTrial(
        order[rows].astype(np.int64) if rows else np.zeros(0, np.int64),
        dressed,
        [_against_itself(pool.select(rows), texts, dressed, place) for place in range(len(DRESSES))],
    )


def _against_itself(
    battles: datasets.Dataset, texts: Sequence[tuple[Any, list[Any]]], dressed: Sequence[str], place: int
) -> datasets.Dataset:
    columns = {name: battles[name][:] for name in FEATURES}
    for row, ((plain, copies), side) in enumerate(zip(texts, dressed, strict=True)):
        columns[f"response_{side}"][row] = copies[place]
        columns["response_b" if side == "a" else "response_a"][row] = list(plain)
        columns["verdict"][row] = columns["teacher"][row] = None
    columns["id"] = [f"{battle} dress {DRESSES[place].name}" for battle in columns["id"]]
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def describe_dress(trial: DressTrial, answers: Sequence[np.ndarray], groups: Sequence[str], seed: int) -> Figures:
    """What each dress is worth, and which copy is picked of all. answers: log-probabilities float [k, 3] of each dress."""
    resampling = Resampling([groups[row] for row in trial.rows], seed=seed)
    sign = np.where(np.array(trial.dressed, dtype=str) == "a", 1.0, -1.0)
    gains = [sign * (win_share(np.exp(answer)) - 0.5) for answer in answers]
    margins = np.stack([sign * (answer[:, 0] - answer[:, 1]) for answer in answers], axis=1)
    return {
        "battles": len(trial.rows),
        "dresses": [
            {
                "name": dress.name,
                "label": dress.label,
                "win_share": resampling.mean(gain),
                "picked": resampling.mean((np.sign(margins[:, place]) + 1) / 2),
            }
            for place, (dress, gain) in enumerate(zip(DRESSES, gains, strict=True))
        ],
        "best_of": len(DRESSES) + 1,
        "picked": resampling.mean(picked_dressed(margins)),
        "picked_by_chance": len(DRESSES) / (len(DRESSES) + 1),
    }


def picked_dressed(margins: np.ndarray) -> np.ndarray:
    """float64 [k]: whether one of the dressed copies is the best of all, a share where the plain one is as good.

    margins: float [k, n], how much better each dressed copy is than the plain one.
    """
    best = margins.max(axis=1, initial=-np.inf)
    as_good = (margins == 0).sum(axis=1)
    return np.where(best > 0, 1.0, np.where(best < 0, 0.0, as_good / (as_good + 1)))


def sway(figures: Figures) -> Estimate | None:
    """The largest effect that is no content, in win share: {name, value, low, high, battles}; None where none is known.

    Args:
        figures: an audit's. A dress counts by its win share less ½, position by half of what being shown first is worth.
    """
    first = figures["position"]["swapped"]["first"]
    halved = {key: None if first[key] is None else first[key] / 2 for key in ("value", "low", "high")}
    effects = [
        ("shown first", halved | {"battles": first["battles"]}),
        *((dress["label"], dress["win_share"]) for dress in figures["dress"]["dresses"]),
    ]
    known = [(name, effect) for name, effect in effects if effect["value"] is not None]
    if not known:
        return None
    name, effect = max(known, key=lambda one: abs(one[1]["value"]))
    return {"name": name, **effect}
