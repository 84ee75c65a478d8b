"""What is scored, with what, and into which partitions: plain data that every machine gets, kept in the output folder.

A partition is `partition_rows` battles of one file in its order, so its name says what is in it:

    plan.json                      what this folder's partitions were made from
    parts/00007/000012.parquet     battles 12 · partition_rows + 1 and so on of file 7
    files/00007.json               written when all partitions of file 7 are there
    index.json                     written when all files are done, and all ids are different
"""

import functools
import importlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from arena_data.errors import InputError
from arena_data.file_io import fingerprint, json_text
from arena_data.reading.builder import CODE_HASH
from arena_data.submission import COLUMNS
from reward_model.predict.cluster.folder import Folder, file_version
from reward_model.predict.cluster.identity import models_identity
from reward_model.predict.predictor import Predictor
from reward_model.predict.task import PredictionTask

PLAN, INDEX, PARTS, FILES = "plan.json", "index.json", "parts", "files"
FORMAT = 1


def this_code() -> str:
    """The version of this package, and a hash of how it reads battles."""
    # By name: the package's face imports what lies above this folder, for people who look at it.
    version = importlib.import_module("reward_model").__version__
    return f"{version} {CODE_HASH}"


@dataclass(frozen=True)
class WorkPlan:
    """What is scored, with what.

    Args:
        folder: where the results go.
        task: the models and how they are read.
        files: of battles, by absolute path or URL.
        versions: of each file, as `file_version` gives it.
        partition_rows: battles of a partition; the last one of a file may have fewer.
        models: `models_identity`.
        rewards: whether rewards are written.
        threshold: of the verdict sets; None for none.
        code: of this package, as `this_code` gives it.
    """

    folder: Folder
    task: PredictionTask
    files: list[str]
    versions: list[dict[str, Any]]
    partition_rows: int
    models: str
    rewards: bool = False
    threshold: float | None = None
    code: str = field(default_factory=this_code)

    @classmethod
    def of(
        cls,
        folder: Folder,
        task: PredictionTask,
        predictor: Predictor,
        partition_rows: int,
        rewards: bool,
        threshold: float | None,
    ) -> "WorkPlan":
        """Raises: InputError or ModelError for a file of battles or of a model that is not there."""
        versions = [file_version(file) for file in task.inputs]
        models = models_identity(predictor.members)
        return cls(folder, task, task.inputs, versions, partition_rows, models, rewards, threshold)

    def stored(self) -> dict[str, Any]:
        """What plan.json says: all that a partition depends on."""
        options = [asdict(options) for _, options in self.task.models]
        for one in options:  # how fast it is read, not what comes out
            del one["batch_tokens"], one["load"]["device"]
        return {
            "format": FORMAT,
            "code": self.code,
            "files": [{"file": file, **about} for file, about in zip(self.files, self.versions, strict=True)],
            "models": {
                "names": [name for name, _ in self.task.models],
                "content": self.models,
                "options": options,
                "weights": self.task.weights,
                "pooling": self.task.pooling,
            },
            "columns": {"rewards": self.rewards, "verdict_set_threshold": self.threshold},
            "partition_rows": self.partition_rows,
        }

    @functools.cached_property
    def mark(self) -> str:
        """A short hash of all that a partition depends on; each partition carries it."""
        return fingerprint(**self.stored())

    def parts_folder(self, file: int) -> str:
        """Where a file's partitions are: a folder a file, since a store lists a million names slowly."""
        return f"{PARTS}/{file:05d}"

    def part_name(self, file: int, part: int) -> str:
        return f"{self.parts_folder(file)}/{part:06d}.parquet"

    def begin(self) -> None:
        """Writes plan.json, or goes on with a folder whose plan is the same.

        Raises: InputError, one line, where the folder holds another plan's work or something else.
        """
        there = self.folder.read(PLAN)
        if there is None:
            if names := self.folder.names():
                raise InputError(
                    "the output folder holds something else",
                    file=self.folder.name,
                    found=sorted(names)[:3],
                    fix="name another --output",
                )
            self.folder.write(PLAN, json_text(self.stored()).encode())
            return
        try:
            before = json.loads(there)
            changes = _changes(before, json.loads(json_text(self.stored())))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"is broken ({error})", file=f"{self.folder.name}/{PLAN}", fix="name another --output"
            ) from error
        if changes:
            raise InputError(
                f"the output folder's partitions were scored from other {changes[0]}",
                file=self.folder.name,
                fix="name another --output, or give what it was begun with",
            )


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two plans, most telling first."""
    changes = []
    if before["files"] != now["files"]:
        known = {about["file"]: about for about in before["files"]}
        changed = [about["file"] for about in now["files"] if known.get(about["file"]) != about]
        changes.append(
            f"input ({changed[0]} has changed or is new)" if changed else "input (files were left out or moved)"
        )
    if before["models"] != now["models"]:
        same_files = before["models"]["content"] == now["models"]["content"]
        changes.append("flags for the models" if same_files else f"models ({', '.join(now['models']['names'])})")
    if before["columns"] != now["columns"]:
        changes.append("--rewards or --coverage")
    if before["partition_rows"] != now["partition_rows"]:
        changes.append(f"--partition_rows ({before['partition_rows']})")
    if not changes and before != now:
        changes.append("code of this package")
    return changes


def column_names(plan: WorkPlan, grounded: bool) -> list[str]:
    """The partitions' columns, in order."""
    rewards = ["reward_a", "reward_b", "margin", "tie_strength", *(["usable_a", "usable_b"] if grounded else [])]
    return [
        "id",
        *COLUMNS,
        *(rewards if plan.rewards else []),
        *(["verdict_set"] if plan.threshold is not None else []),
    ]
