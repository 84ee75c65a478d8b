"""The models on one device of the cluster: an actor of Ray Data, which scores parts and writes their partitions.

Ray starts a killed actor again and gives it the part that it had. A partition's name says which battles are in it, and it is
moved into place whole. So a part that is scored twice leaves one partition, and one that was lost is scored again.
"""

import os
import secrets
import warnings
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from arena_data.schema import FEATURES
from reward_model.errors import ModelError
from reward_model.predict.cluster import partition
from reward_model.predict.cluster.battle_parts import PART_SCHEMA, check_code, lines_kept, unpacked
from reward_model.predict.cluster.identity import models_identity
from reward_model.predict.cluster.work_plan import WorkPlan
from reward_model.predict.member import Job
from reward_model.predict.predictor import Predictor

# What is told of each part: its row without the battles, and what its first row failed on.
RESULT_SCHEMA = PART_SCHEMA.remove(PART_SCHEMA.get_field_index("battles")).append(pa.field("error", pa.string()))


class PartitionScorer:
    """Opens the plan's models on this machine. A model is loaded when the first part comes, and stays.

    Args:
        plan: what is scored with what.
        cores: that this actor may use.
    """

    def __init__(self, plan: WorkPlan, cores: int):
        warnings.simplefilter("ignore")  # the main process says what there is to say
        # joblib would take all of the machine's cores in each actor. For PyTorch Ray sets OMP_NUM_THREADS.
        os.environ["LOKY_MAX_CPU_COUNT"] = str(cores)
        self.plan = plan
        self.error: Exception | None = None
        self.predictor: Predictor | None = None
        # An error of an actor's start comes without its class; one of its first call keeps it.
        try:
            self.predictor = self._opened()
        except (ValueError, OSError, ImportError) as error:
            self.error = error

    def _opened(self) -> Predictor:
        check_code(self.plan)
        predictor = self.plan.task.open()
        if models_identity(predictor.members) != self.plan.models:
            names = ", ".join(name for name, _ in self.plan.task.models)
            raise ModelError(f"{names}: a machine of the cluster has other files of this model than the others")
        return predictor

    def __call__(self, parts: pa.Table) -> pa.Table:
        """A table of `RESULT_SCHEMA`: the parts, whose partitions are there now.

        Raises: InputError or ModelError, one line.
        """
        rows = parts.to_pylist()
        with lines_kept():
            if self.error is not None:
                raise self.error
            for row in rows:
                battles = row.pop("battles")
                row["error"] = ""
                if battles:
                    row["failed"], row["error"] = self._score(row, unpacked(battles))
        return pa.Table.from_pylist(rows, schema=RESULT_SCHEMA)

    def _score(self, row: dict[str, Any], battles: pa.Table) -> tuple[int, str]:
        assert self.predictor is not None
        # A random fingerprint: hashing the table would take longer than a small model takes to read it.
        info = datasets.DatasetInfo(features=FEATURES)
        rows = datasets.Dataset(battles, info, fingerprint=secrets.token_hex(8))
        prediction = self.predictor.run(Job(rows, keeps_models=True))
        content = partition.to_parquet(self.plan, battles.column("id"), prediction)
        self.plan.folder.write(self.plan.part_name(row["file"], row["part"]), content)
        causes = [member.first_error for member in self.predictor.members if member.first_error]
        return int(np.sum(prediction.failed)), causes[0] if causes else ""
