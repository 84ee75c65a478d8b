"""Labelled rows, with or without texts: what calibrations and blends are fitted on.

Battles in any format of `arena_data.loading` bring what links them, by which folds are grouped, and texts that a model can
read. A CSV file of ids and three columns brings verdicts only: enough where predictions are on file already.
"""

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.submission import COLUMNS, align, read_submission
from reward_model.evaluation.probabilities import FloatArray
from reward_model.predict.open_member import read_log_probs

if TYPE_CHECKING:
    import datasets

    from reward_model.predict.member import MemberOptions


@dataclass(frozen=True)
class LabelledRows:
    """Ids, verdicts float64 [n, 3], groups (None: each row its own) and battles (None: there are no texts)."""

    ids: list[str]
    verdicts: FloatArray
    groups: list[str] | None
    battles: "datasets.Dataset | None"

    def select(self, rows: npt.NDArray[np.intp]) -> "LabelledRows":
        """Some of them, by their places."""
        return LabelledRows(
            [self.ids[row] for row in rows],
            self.verdicts[rows],
            None if self.groups is None else [self.groups[row] for row in rows],
            None if self.battles is None else self.battles.select(rows),
        )


def read_labelled(path: str | os.PathLike[str], limits: Limits = LIMITS) -> LabelledRows:
    """The rows of a file.

    Args:
        limits: sizes beyond which a file of battles is refused.

    Raises: InputError for rows that cannot be read, have no verdict, or are none.
    """
    if _is_bare(path):
        ids, verdicts = read_submission(path)
        rows = LabelledRows(ids, verdicts, None, None)
    else:
        from arena_data.loading import load_battles
        from arena_data.splits.linking import link_battles

        [battles], _ = link_battles(load_battles(path, labels="required", limits=limits))
        shares = np.asarray(list(battles["verdict"]), dtype=np.float64).reshape(-1, 3)
        rows = LabelledRows(list(battles["id"]), shares, list(battles["group"]), battles)
    if not rows.ids:
        raise InputError("has no rows", file=path, expected="labelled battles to fit on")
    return rows


def log_probs_of(
    sources: Sequence[str], rows: LabelledRows, options: "Callable[[], MemberOptions]"
) -> tuple[list[FloatArray], LabelledRows]:
    """What each of several models says of the rows.

    Args:
        sources: run directories, baselines' directories or CSV files of probabilities.
        options: how models are loaded, asked for only where there is one to load.

    Returns:
        float64 [n, 3] each; and the rows, which are those that all of them could score.

    Raises: InputError for a source that cannot be read, or that needs texts where there are none.
    """
    # What is on file first: what is wrong there is said before a model is loaded.
    log_probs = {path: align(rows.ids, *read_log_probs(path), path) for path in sources if os.path.isfile(path)}
    scored = np.full(len(rows.ids), True)
    if models := [path for path in sources if path not in log_probs]:
        if rows.battles is None:
            raise InputError(
                "cannot predict rows without texts",
                file=models[0],
                expected="labelled battles, with prompt and responses",
            )
        from reward_model.predict.member import Job
        from reward_model.predict.open_member import open_member

        members = {path: open_member(path, options()) for path in models}
        job = Job(rows.battles, progress=True)
        for path, member in members.items():
            prediction = member.predict(job)
            log_probs[path] = prediction.log_probs
            scored &= ~prediction.failed
        if not scored.any():
            raise InputError("none of the rows could be scored", file=models[0], found=members[models[0]].first_error)
    return [log_probs[path][scored] for path in sources], rows.select(np.flatnonzero(scored))


def _is_bare(path: str | os.PathLike[str]) -> bool:
    """Whether it is a CSV file of ids and verdicts without texts."""
    if not os.path.isfile(path) or not os.fspath(path).endswith(".csv"):
        return False
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as stream:
        header = next(csv.reader(stream), [])
    return {"id", *COLUMNS} <= set(header) and not {"prompt", "conversation_a", "chosen"} & set(header)
