"""Work plans of small runs, and the work on them in this process: what a cluster does, without one."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from reward_model.cli.flags import PredictionFlags, task_of
from reward_model.predict.cluster.battle_parts import read_parts
from reward_model.predict.cluster.folder import Folder
from reward_model.predict.cluster.index import Progress
from reward_model.predict.cluster.partition_scorer import PartitionScorer
from reward_model.predict.cluster.work_plan import WorkPlan


def plan_of(
    folder: Path,
    files: list[str] | None = None,
    *,
    partition_rows: int = 8,
    rewards: bool = False,
    **flags: Any,
) -> WorkPlan:
    """The plan of a folder with `run`, `a.jsonl` and, in time, `out`."""
    sources = [str(folder / name) for name in files or ["a.jsonl"]]
    given = PredictionFlags(model=[str(folder / "run")], input=sources, rewards=rewards, **{"device": "cpu"} | flags)
    task = task_of(given)
    return WorkPlan.of(Folder.of(str(folder / "out")), task, task.open(), partition_rows, rewards, None)


def work_on(plan: WorkPlan) -> Progress:
    """Reads and scores all that is missing."""
    plan.begin()
    progress, scorer = Progress.of(plan), PartitionScorer(plan, 1)
    for parts in read_parts(pa.table({"file": pa.array(progress.missing, pa.int64())}), plan):
        for row in scorer(parts).to_pylist():
            progress.add(row)
    return progress
