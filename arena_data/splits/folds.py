"""Duplicates and splits: each battle once, no group on both sides of a split, the same on every machine.

Groups are those of the column `group`: equal prompts as battles are read, and all that `arena_data.splits.linking` connects
where a command deals folds.

They are dealt, stratum by stratum, to the part that is furthest behind its share. The order in which they are dealt is
a hash of the seed and the group, not a random generator's or the file's, so the same battles land in the same parts
whatever the library version, the platform or the order of rows.
"""

from __future__ import annotations

import hashlib
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import datasets

IntArray = npt.NDArray[np.int64]
FOLDS = 5
UNLABELLED = 3


def drop_duplicates(battles: datasets.Dataset) -> tuple[datasets.Dataset, int]:
    """Battles with equal prompt and responses, also with A and B exchanged, kept once; and how many were left out.

    The one that is kept has the mean of all copies' verdicts and the mean of their teachers, each turned to its side, and
    the median of their grades.
    People's verdicts alone are averaged where there is one; where there is none, the teachers' mean is the verdict too.
    How much of them said that both are bad is averaged with them.
    """
    # A second to import; the rest of this module does without them.
    import datasets

    from arena_data.reading.verdicts import voted

    first: dict[bytes, int] = {}
    votes: dict[int, list[Sequence[float]]] = defaultdict(list)
    teachers: dict[int, list[Sequence[float]]] = defaultdict(list)
    strengths: dict[int, list[float]] = defaultdict(list)
    both_bad: dict[int, list[float]] = defaultdict(list)
    orientation: dict[int, bool] = {}
    read = battles.select_columns(["prompt", "response_a", "response_b", "verdict", "teacher", "both_bad", "strength"])
    for index, row in enumerate(read):
        a, b = repr(row["response_a"]), repr(row["response_b"])
        swapped = b < a
        text = "\0".join([repr(row["prompt"]), *((b, a) if swapped else (a, b))])
        kept = first.setdefault(hashlib.blake2b(text.encode(), digest_size=16).digest(), index)
        turned = orientation.setdefault(kept, swapped) != swapped
        vote = voted(row["verdict"], row["teacher"])
        if vote is not None:
            both_bad[kept].append(row["both_bad"] or 0.0)
        for known, shares in ((votes, vote), (teachers, row["teacher"])):
            if shares is not None:
                known[kept].append([shares[1], shares[0], shares[2]] if turned else shares)
        if row["strength"] is not None:
            strengths[kept].append(row["strength"])
    if len(first) == len(battles):
        return battles, 0
    kept_rows = sorted(first.values())
    columns: dict[str, list[Any]] = {
        "verdict": [_mean(votes[index] or teachers[index]) for index in kept_rows],
        "teacher": [_mean(teachers[index]) for index in kept_rows],
        # The lower median is a grade that somebody gave.
        "strength": [statistics.median_low(strengths[index]) if strengths[index] else None for index in kept_rows],
    }
    labelled = [verdict is not None for verdict in columns["verdict"]]
    means_of_bad = [float(np.mean(both_bad[index])) if both_bad[index] else 0.0 for index in kept_rows]
    columns["both_bad"] = [share if known else None for share, known in zip(means_of_bad, labelled, strict=True)]
    unique = battles.select(kept_rows)
    means = datasets.Dataset.from_dict(
        columns, features=datasets.Features({name: battles.features[name] for name in columns})
    )
    unique = datasets.concatenate_datasets([unique.remove_columns(list(columns)), means], axis=1)
    return unique.select_columns(list(battles.features)), len(battles) - len(unique)


def _mean(shares: list[Sequence[float]]) -> list[float] | None:
    return np.mean(np.asarray(shares, dtype=np.float64), axis=0).tolist() if shares else None


def strata_of(battles: datasets.Dataset) -> np.ndarray:
    """int64 [n]: 0, 1, 2 for the most likely of A, B, tie; 3 where there is no verdict."""
    return np.array([UNLABELLED if v is None else int(np.argmax(v)) for v in battles["verdict"]], dtype=np.int64)


def deal(
    groups: Sequence[str], strata: Sequence[int] | np.ndarray, shares: Sequence[float], seed: int = 0
) -> np.ndarray:
    """int64 [n]: each row's part; rows of one group go to one part, and parts get their shares of each stratum.

    Args:
        groups: [n] group ids.
        strata: [n] small integers that each part should hold in equal proportion.
        shares: what part of the rows each part gets; they are normalised to sum to 1.

    Raises: ValueError for no shares, or one that is not positive and finite.
    """
    targets = np.asarray(shares, dtype=np.float64)
    if len(targets) == 0 or not ((targets > 0) & np.isfinite(targets)).all():
        raise ValueError(f"shares must be positive and finite, not {list(shares)}")
    targets = targets / targets.sum()
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    strata = np.asarray(strata, dtype=np.int64)
    width = int(strata.max(initial=0)) + 1
    counts = {group: np.bincount(strata[rows], minlength=width) for group, rows in members.items()}

    def turn(group: str) -> tuple[int, bytes]:
        # Large groups first: what comes after them can still even out what they upset.
        return -len(members[group]), hashlib.blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest()

    held = np.zeros((len(targets), width))
    part = np.zeros(len(groups), dtype=np.int64)
    for group in sorted(members, key=turn):
        # The part that lacks most of the strata this group would bring; ties go to the emptier, then to the first part.
        lack = -(held / targets[:, None]) @ counts[group]
        best = np.lexsort((np.arange(len(targets)), held.sum(axis=1) / targets, -lack))[0]
        held[best] += counts[group]
        part[members[group]] = best
    return part


def grouped_folds(battles: datasets.Dataset, folds: int, seed: int = 0) -> np.ndarray:
    """int64 [n]: the fold of each battle, of `folds` equal ones. Raises: ValueError for fewer groups than folds."""
    groups = battles["group"]
    count = len(set(groups))
    if not 2 <= folds <= count:
        raise ValueError(f"not {folds} folds: folds need to be at least 2 and at most the {count} groups of battles")
    return deal(groups, strata_of(battles), [1.0] * folds, seed)


def grouped_split(battles: datasets.Dataset, shares: Mapping[str, float], seed: int = 0) -> dict[str, datasets.Dataset]:
    """Parts by name, as `{"train": 0.8, "validation": 0.1, "calibration": 0.1}` says; rows keep their order."""
    part = deal(battles["group"], strata_of(battles), list(shares.values()), seed)
    return {name: battles.select(np.flatnonzero(part == index)) for index, name in enumerate(shares)}


def training_split(
    battles: datasets.Dataset,
    held_out: datasets.Dataset | None = None,
    *,
    validation_share: float = 0.1,
    calibration_share: float = 0.1,
    num_folds: int | None = None,
    fold: int = 0,
    seed: int = 0,
) -> dict[str, datasets.Dataset]:
    """`train`, `validation` and `calibration`, which share no group.

    Args:
        held_out: the validation battles, if they are given; a group that is in both stays there.
        validation_share: of battles, where there are neither held_out nor folds.
        calibration_share: of what is left.
        num_folds, fold: validation is that one of so many grouped folds.

    Raises: ValueError for shares or a fold that are out of range, or a part that would be empty.
    """
    if held_out is not None and num_folds is not None:
        raise ValueError("num_folds and a file of held-out battles were both given; give one")
    if num_folds is not None:
        if not 0 <= fold < num_folds:
            raise ValueError(f"fold is {fold}; expected 0 to {num_folds - 1}, since num_folds is {num_folds}")
        part = grouped_folds(battles, num_folds, seed)
        held_out, battles = (battles.select(np.flatnonzero(chosen)) for chosen in (part == fold, part != fold))
    elif held_out is None:
        parts = grouped_split(battles, {"rest": 1 - validation_share, "validation": validation_share}, seed)
        battles, held_out = parts["rest"], parts["validation"]
    else:
        seen = set(held_out["group"])
        battles = battles.select([row for row, group in enumerate(battles["group"]) if group not in seen])
    parts = grouped_split(battles, {"train": 1 - calibration_share, "calibration": calibration_share}, seed)
    parts["validation"] = held_out
    if empty := [name for name, part in parts.items() if len(part) == 0]:
        raise ValueError(f"{len(battles)} battles are too few: none are left for {', '.join(empty)}")
    return {name: parts[name] for name in ("train", "validation", "calibration")}


def deal_folds(
    groups: Sequence[str], verdicts: npt.ArrayLike, seed: int = 0, folds: int = FOLDS
) -> tuple[IntArray, int]:
    """The fold of each row, int64 [n], and how many there are: `folds`, or as many as there are groups.

    Args:
        groups: [n]; rows of one group are in one fold.
        verdicts: [n, 3], shares of A, B and tie; each fold gets its part of each.
    """
    fewer = max(1, min(folds, len(set(groups))))
    return deal(groups, np.asarray(verdicts).argmax(axis=1), [1.0] * fewer, seed), fewer
