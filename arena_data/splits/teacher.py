"""A teacher's probabilities joined to battles by id: what a student learns from beside the verdicts, or instead of them.

The teacher speaks in submission format: `out_of_fold.csv` of a run over folds, so that it never saw the battle it
judges, or predict.py's output for battles nobody has judged (pseudo-labels).
"""

import os
from collections.abc import Sequence

import datasets

from arena_data.errors import InputError
from arena_data.file_io import write_bytes_atomically
from arena_data.reading.verdicts import voted
from arena_data.splits.write_split import battle_line
from arena_data.submission import FloatArray, read_submission


def read_teachers(paths: Sequence[str | os.PathLike[str]]) -> dict[str, FloatArray]:
    """Float64 [3] by id, P(A), P(B), P(tie), from files that share no id.

    Raises: InputError for a file that `read_submission` refuses, or an id in two of them.
    """
    teachers: dict[str, FloatArray] = {}
    for path in paths:
        ids, shares = read_submission(path)
        if doubled := [name for name in ids if name in teachers]:
            raise InputError(
                f"{len(doubled)} ids are in an earlier --teacher file too",
                file=path,
                column="id",
                found=doubled[0],
                fix="average several teachers into one file first",
            )
        teachers.update(zip(ids, shares, strict=True))
    return teachers


def write_taught(
    battles: datasets.Dataset, teachers: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> dict[str, int]:
    """Writes the battles as JSON Lines, each with its teacher's probabilities in place of any it had.

    A verdict that was an earlier teacher's goes with it: the battle takes the new one, or is left out.

    Returns: the number of battles `written`, of those `untaught` (people's verdict, no teacher), and `left_out` (neither).
    Raises: InputError for teachers that cannot be read or match no battle, ids of theirs that match none, or a file
        that cannot be written.
    """
    by_id = read_teachers(teachers)
    known = set(battles["id"])
    if strangers := [name for name in by_id if name not in known]:
        raise InputError(
            f"{len(strangers)} of the teacher's {len(by_id)} ids match no battle",
            file=", ".join(map(str, teachers)),
            column="id",
            found=strangers[0],
            fix="name every file of battles the teacher judged",
        )
    if not by_id:
        raise InputError("the teacher judges no battle", file=", ".join(map(str, teachers)))
    counts = {"written": 0, "untaught": 0, "left_out": 0}
    lines = []
    for row in battles:
        teacher = by_id.get(row["id"])
        verdict = voted(row["verdict"], row["teacher"])
        if teacher is None and verdict is None:
            counts["left_out"] += 1
            continue
        counts["untaught"] += teacher is None
        lines.append(battle_line(row | {"verdict": verdict, "teacher": None if teacher is None else teacher.tolist()}))
    counts["written"] = len(lines)
    write_bytes_atomically(output, b"".join(lines))
    return counts
