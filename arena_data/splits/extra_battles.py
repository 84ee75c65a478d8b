"""Battles from elsewhere, for training beside our own: nothing links any of them to a battle that is held out."""

import sys
from collections.abc import Sequence

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.containers.limits import LIMITS, Limits
from arena_data.loading import load_battles
from arena_data.splits.folds import drop_duplicates
from arena_data.splits.linking import link_battles

IntArray = npt.NDArray[np.int64]


def read_extra_battles(
    extra_file: Sequence[str], *held_out: datasets.Dataset, limits: Limits = LIMITS
) -> tuple[datasets.Dataset, IntArray]:
    """All battles of the files, each once; and the places of those that nothing links to a held-out part.

    Args:
        limits: sizes beyond which a file is refused.

    Raises: InputError for input that cannot be read.
    """
    battles, doubles = drop_duplicates(load_battles(extra_file, labels="required", limits=limits))
    if doubles:
        print(f"{doubles:,} duplicate battles of other sources left out", file=sys.stderr)
    return battles, rows_without_links(battles, *held_out)


def rows_without_links(battles: datasets.Dataset, *held_out: datasets.Dataset) -> IntArray:
    """Places of the battles that nothing links to a battle of the parts that are held out."""
    (linked, *parts), _ = link_battles(battles, *held_out, progress=False)
    seen = {group for part in parts for group in part["group"]}
    return np.array([row for row, group in enumerate(linked["group"]) if group not in seen], dtype=np.int64)
