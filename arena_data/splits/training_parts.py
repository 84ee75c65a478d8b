"""From files of labelled battles to the parts that a system is trained, calibrated and judged on.

Battles that nobody voted on, whose verdict is a teacher's, are for training alone: nobody is judged by a teacher's word, and
no calibration is fitted to it.
"""

import sys
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.quiet import quiet_datasets
from arena_data.reading.verdicts import voted
from arena_data.splits.folds import drop_duplicates, training_split
from arena_data.splits.linking import Links, link_battles


class TrainingParts(dict[str, datasets.Dataset]):
    """Battles by the name of their part, and what links them."""

    links: Links


def read_training_battles(
    train_file: Sequence[str], max_battles: int | None = None, limits: Limits = LIMITS
) -> datasets.Dataset:
    """All that may be trained on, each once, in groups that folds keep whole; doubles and links are said on standard error.

    Args:
        train_file: files, globs or Hub ids of labelled battles.
        max_battles: take only so many, the first ones.
        limits: sizes beyond which a file is refused.

    Raises: InputError for input that cannot be read.
    """
    return _read(train_file, None, max_battles, limits)[0]


def _read(
    train_file: Sequence[str], eval_file: Sequence[str] | None, max_battles: int | None, limits: Limits
) -> tuple[datasets.Dataset, datasets.Dataset | None, Links]:
    """Battles to train on and those held out by file, in common groups. Links are made before duplicates are dropped:
    whoever voted on a duplicate voted on the battle that is kept."""
    if not train_file:
        raise InputError("no battles to train on", fix="give --train_file")
    files = [train_file, *([eval_file] if eval_file else [])]
    linked, links = link_battles(*(load_battles(names, labels="required", limits=limits) for names in files))
    battles, doubles = drop_duplicates(linked[0])
    if doubles:
        print(f"{doubles:,} duplicate battles left out", file=sys.stderr)
    print(links, file=sys.stderr)
    if max_battles is not None:
        battles = battles.select(range(min(max_battles, len(battles))))
    return battles, drop_duplicates(linked[1])[0] if eval_file else None, links


def read_training_split(
    train_file: Sequence[str],
    eval_file: Sequence[str] | None = None,
    *,
    max_battles: int | None = None,
    limits: Limits = LIMITS,
    **split: Any,
) -> TrainingParts:
    """`train`, `validation` and `calibration`, between which there is no link.

    Args:
        train_file, max_battles, limits: as for `read_training_battles`.
        eval_file: held-out battles, if they are files of their own; those that only a teacher judged are left out.
        split: as for `arena_data.splits.folds.training_split`.

    Raises: InputError for input that cannot be read, ValueError for a split that cannot be made.
    """
    battles, held_out, links = _read(train_file, eval_file, max_battles, limits)
    if held_out is not None:
        held_out, _ = split_by_judge(held_out)
    people, teachers = split_by_judge(battles)
    parts = TrainingParts(training_split(people, held_out, **split))
    parts.links = links
    if len(teachers):
        elsewhere = {*parts["validation"]["group"], *parts["calibration"]["group"]}
        kept = [row for row, group in enumerate(teachers["group"]) if group not in elsewhere]
        with quiet_datasets():
            parts["train"] = datasets.concatenate_datasets([parts["train"], teachers.select(kept)])
    return parts


def split_by_judge(battles: datasets.Dataset) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Battles that people voted on, and those that only a teacher judged; all are the former where nobody voted."""
    pairs = zip(battles["verdict"], battles["teacher"], strict=True)
    people = np.asarray([voted(verdict, teacher) is not None for verdict, teacher in pairs], dtype=bool)
    if people.all() or not people.any():
        return battles, battles.select([])
    return battles.select(np.flatnonzero(people)), battles.select(np.flatnonzero(~people))
