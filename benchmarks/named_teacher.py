"""Does a teacher that reads the models' names teach more? `python -m benchmarks.named_teacher --data_dir ../shared/data`.

Five grouped folds of arena/train.csv, whose battles have names. In each, out-of-fold teachers judge the training part: a
regression on style and a frozen backbone's vectors of the texts, with the names before the responses or without
(`arena_data.transcripts.model_names`). A student, which reads no names, is fitted to the verdicts, or to the verdicts mixed
with a teacher's probabilities, and predicts the held-out battles. Ridge penalties are the frozen regression's own, fixed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from arena_data.loading import load_battles
from arena_data.splits.folds import deal_folds, drop_duplicates
from arena_data.splits.linking import link_battles
from arena_data.transcripts.model_names import with_model_names
from reward_model.baselines.base import FloatArray, verdicts_of
from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.davidson import Design
from reward_model.baselines.regression.frozen import Frozen, FrozenSettings, Read
from reward_model.evaluation.probabilities import row_losses
from reward_model.evaluation.resampling import Resampling

TEACHER_WEIGHT = 0.5
Rows = npt.NDArray[np.int64]


def log_probs(frozen: Frozen, read: Read, verdicts: FloatArray, fitted: Rows, asked: Rows) -> FloatArray:
    """float64 [asked, 3], of a regression on the rows `fitted`."""
    frozen._learn_scales(rows_of(read, fitted))
    weights = davidson.fit(
        Design.plain(*frozen.features(rows_of(read, fitted))), verdicts, frozen._penalty(FrozenSettings())
    )
    return davidson.log_probabilities(Design.plain(*frozen.features(rows_of(read, asked))), weights)


def rows_of(read: Read, rows: Rows) -> Read:
    style = type(read.style)(read.style.a[rows], read.style.b[rows], read.style.similarity[rows])
    return Read(read.a[rows], read.b[rows], style)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="../shared/data", type=Path, help="with the folder arena/")
    parser.add_argument("--model_name_or_path", default="models/minilm", help="the frozen backbone")
    parser.add_argument("--seeds", type=int, default=3, help="how many dealings of folds")
    options = parser.parse_args(arguments)
    [linked], _ = link_battles(load_battles(options.data_dir / "arena" / "train.csv", labels="required"))
    battles, _ = drop_duplicates(linked)
    frozen = Frozen(model_name_or_path=options.model_name_or_path, dtype="float32")
    plain = frozen.read(battles)
    shown = frozen.read(with_model_names(battles))._replace(style=plain.style)
    verdicts, groups = verdicts_of(battles), list(battles["group"])
    losses: dict[str, list[FloatArray]] = {}

    def note(name: str, rows: Rows, said: FloatArray, by_row: dict[str, FloatArray]) -> None:
        by_row.setdefault(name, np.empty(len(verdicts)))[rows] = row_losses(said, verdicts[rows])

    for seed in tqdm(range(options.seeds), "Dealings"):
        part, count = deal_folds(groups, verdicts, seed)
        by_row: dict[str, FloatArray] = {}
        for fold in range(count):
            rest, held_out = np.flatnonzero(part != fold), np.flatnonzero(part == fold)
            inner, inner_count = deal_folds([groups[row] for row in rest.tolist()], verdicts[rest], seed)
            note("student of verdicts", held_out, log_probs(frozen, plain, verdicts[rest], rest, held_out), by_row)
            for name, read in (("plain", plain), ("named", shown)):
                taught = np.empty((len(rest), 3))
                for number in range(inner_count):
                    fitted, asked = rest[inner != number], rest[inner == number]
                    taught[inner == number] = np.exp(log_probs(frozen, read, verdicts[fitted], fitted, asked))
                note(f"{name} teacher", held_out, log_probs(frozen, read, verdicts[rest], rest, held_out), by_row)
                mixed = (1 - TEACHER_WEIGHT) * verdicts[rest] + TEACHER_WEIGHT * taught
                note(f"student of {name} teacher", held_out, log_probs(frozen, plain, mixed, rest, held_out), by_row)
        for name, values in by_row.items():
            losses.setdefault(name, []).append(values)
    means = {name: np.mean(values, axis=0) for name, values in losses.items()}
    resampling, base = Resampling(groups), means["student of verdicts"]
    print("| system | log loss | minus student of verdicts |\n| --- | --- | --- |")
    for name, values in means.items():
        loss, gain = resampling.mean(values), resampling.mean(values - base)
        print(
            f"| {name} | {loss['value']:.4f} ({loss['low']:.4f} to {loss['high']:.4f}) |"
            f" {gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f}) |"
        )
    pair = resampling.mean(means["student of named teacher"] - means["student of plain teacher"])
    print(f"named minus plain teacher's student: {pair['value']:+.4f} ({pair['low']:+.4f} to {pair['high']:+.4f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
