"""A partition of the results: a Parquet file of ids and probabilities, which says itself what it was made from.

Parquet keeps its table of contents at its end, so a file that was cut short cannot be read, and is scored again.
"""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from arena_data.submission import COLUMNS
from reward_model.predict.cluster.work_plan import WorkPlan
from reward_model.predict.predictor import Prediction

_KEY = b"arena_reward"


@dataclass(frozen=True)
class Partition:
    """ids: [n]. failed: how many battles could not be scored and have the prior."""

    ids: list[str]
    failed: int


def to_parquet(plan: WorkPlan, ids: pa.ChunkedArray, prediction: Prediction) -> bytes:
    """The partition of n battles.

    Args:
        ids: strings [n].
    """
    columns = {"id": ids, **dict(zip(COLUMNS, np.exp(prediction.log_probs).T, strict=True))}
    if plan.rewards:
        from reward_model.predict.columns import reward_columns

        columns |= reward_columns(prediction)
    if plan.threshold is not None:
        from reward_model.calibration.verdict_sets import set_texts
        from reward_model.predict.columns import sets_of

        columns["verdict_set"] = set_texts(sets_of(prediction, plan.threshold))
    about = {"mark": plan.mark, "failed": int(prediction.failed.sum())}
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(about)})
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def read(plan: WorkPlan, name: str, rows: int) -> Partition | None:
    """The partition of that name; None where it is not there, not whole, not of so many rows, or of another plan.

    Raises: InputError where its store cannot be read.
    """
    content = plan.folder.read(name)
    if content is None:
        return None
    try:
        parquet = pa.parquet.ParquetFile(pa.BufferReader(content))
        about = json.loads(parquet.schema_arrow.metadata[_KEY])
        if about["mark"] != plan.mark or parquet.metadata.num_rows != rows:
            return None
        return Partition(parquet.read(["id"]).column("id").to_pylist(), int(about["failed"]))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None
