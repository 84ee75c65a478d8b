"""K-fold training's end: predictions of every battle by a model that has not seen it, and the folds' weights as one model.

Each fold is a run directory of its own, `fold_0`, `fold_1`, …; what it says of its held-out battles lies in its
`held_out.csv`. Joined they are `out_of_fold.csv`, uncalibrated: what blends and calibrations are fitted on. The mean of
the folds' weights, which start from the same point, is a model that has seen every battle at the cost of one in
prediction. It is calibrated on the out-of-fold predictions, the nearest thing to battles that it has not seen.

Source: Wortsman et al. (2022), "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", section 2 (uniform soup).
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from safetensors.torch import load_file, save_file

from arena_data.errors import InputError
from arena_data.submission import align, read_submission, write_submission
from reward_model.calibration import calibration
from reward_model.evaluation.probabilities import floored_log
from reward_model.model.style_head import StyleHead
from reward_model.run_directory.reading import read_run
from reward_model.run_directory.settings import CALIBRATION, CARD, CONFIG, CURVES, METRICS, MODEL_FILES, STYLE
from reward_model.run_directory.writing import begin_run, write_run
from reward_model.train.checkpoints.resuming import SETTINGS
from reward_model.train.finish import HELD_OUT, validation_metrics

OUT_OF_FOLD = "out_of_fold.csv"
# Of one fold alone, and written anew or left out; the rest of its files are configuration and tokenizer.
_OWN = {CARD, METRICS, CALIBRATION, CONFIG, STYLE, CURVES, HELD_OUT, SETTINGS}


def fold_directory(output_dir: str | Path, fold: int) -> Path:
    """Where that fold's run lies."""
    return Path(output_dir) / f"fold_{fold}"


def check_folds_root(output_dir: str | Path) -> None:
    """Raises: InputError, before hours of training, where the folds' mean would take the place of a run of its own."""
    root = Path(output_dir)
    own = (root / CONFIG).is_file() and "folds" not in read_run(root).metrics
    if own or (root / SETTINGS).is_file() or any(root.glob("checkpoint-*")):
        raise InputError("is a run that was trained without --folds", file=root, fix="name another --output_dir")


def finish_folds(output_dir: str, num_folds: int, battles: datasets.Dataset) -> dict[str, Any]:
    """Joins the folds' predictions, averages their weights, and writes a run directory; returns the out-of-fold figures.

    Args:
        battles: all that were dealt into folds; every one is in exactly one fold's held_out.csv.

    Raises: InputError for a fold that is not finished, or whose weights are sharded.
    """
    folders = [fold_directory(output_dir, fold) for fold in range(num_folds)]
    runs = [read_run(folder) for folder in folders]
    log_probs = _out_of_fold(output_dir, folders, battles)
    verdicts = np.asarray(list(battles["verdict"]), dtype=np.float64)
    fitted = calibration.fit(log_probs, verdicts, list(battles["group"]))

    prior = verdicts.mean(axis=0)
    figures = validation_metrics(log_probs, verdicts, prior, list(battles["group"])) | {"train_battles": len(battles)}
    # Each battle under a map that has not seen it; the two before are of the folds' models, not of their mean.
    figures["log_loss_uncalibrated"] = figures["log_loss"]
    if fitted.log_loss_after is not None:
        figures["log_loss"] = fitted.log_loss_after
        del figures["intervals"]["log_loss"]  # it was of the uncalibrated predictions
    begin_run(output_dir, runs[0].config.model_type)
    _average_model(folders, Path(output_dir), MODEL_FILES[runs[0].config.model_type][-1])
    heads = [run.style for run in runs if run.style is not None]
    metrics = figures | {"prior": prior.tolist(), "folds": num_folds, "figures_of": "out-of-fold predictions"}
    if "links" in runs[0].metrics:
        metrics["links"] = runs[0].metrics["links"]
    write_run(output_dir, runs[0].config, _average_style(heads) if heads else None, fitted, metrics, [])
    return figures


def _out_of_fold(output_dir: str, folders: Sequence[Path], battles: datasets.Dataset) -> np.ndarray:
    """float64 [n, 3] in the order of the battles, also written to out_of_fold.csv."""
    ids: list[str] = []
    values = []
    for folder in folders:
        fold_ids, shares = read_submission(folder / HELD_OUT)
        ids += fold_ids
        values.append(shares)
    probabilities = align(battles["id"], ids, np.concatenate(values), folders[0].parent / OUT_OF_FOLD)
    write_submission(Path(output_dir) / OUT_OF_FOLD, battles["id"], probabilities)
    return floored_log(probabilities)


def _average_model(folders: Sequence[Path], output: Path, weights: str) -> None:
    """The mean of the weight files, beside the configuration and tokenizer files of the first fold."""
    for folder in folders:
        if not (folder / weights).is_file():
            raise InputError("weights are not in one file and cannot be averaged", file=folder, expected=weights)
    first = load_file(folders[0] / weights)
    total = {name: tensor.double() for name, tensor in first.items()}
    for folder in folders[1:]:
        for name, tensor in load_file(folder / weights).items():
            total[name] += tensor.double()
    mean = {name: (tensor / len(folders)).to(first[name].dtype).contiguous() for name, tensor in total.items()}
    for path in folders[0].iterdir():
        if path.is_file() and path.name not in _OWN | {weights}:
            shutil.copyfile(path, output / path.name)
    partial = output / f".{weights}.part"
    save_file(mean, partial, metadata={"format": "pt"})
    partial.replace(output / weights)


def _average_style(heads: Sequence[StyleHead]) -> StyleHead:
    """Array by array, as the weights are."""
    names = [field.name for field in dataclasses.fields(StyleHead) if field.name != "features"]
    means = {name: np.stack([getattr(head, name) for head in heads]).mean(axis=0) for name in names}
    return StyleHead(heads[0].features, **means)
