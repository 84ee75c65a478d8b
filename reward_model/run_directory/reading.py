"""The run directory: what a training run leaves, and all that prediction needs apart from the backbone's own weights.

The model and the tokenizer save themselves with `save_pretrained`. This module adds what they do not know: settings,
style head, calibration, metrics, a model card and the learning curves. Everything is checked and drawn before the first
file is touched, each file is whole or absent, and `reward_config.json` is removed first and written last, so that the
files of a directory that has one belong together. JSON and safetensors only; reading needs no torch, no Transformers.

Source: safetensors' format, https://huggingface.co/docs/safetensors.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from arena_data.errors import InputError
from arena_data.file_io import json_object, read_json
from arena_data.schema import LABELS
from reward_model.calibration.calibration import Calibration
from reward_model.model.style_head import REACH_ARRAYS, STYLE_ARRAYS, StyleHead
from reward_model.run_directory.settings import CALIBRATION, CONFIG, METRICS, MODEL_FILES, STYLE, RewardModelConfig


@dataclass(frozen=True)
class RunDirectory:
    """A run as `read_run` reads it: where it lies, settings, style head (None without style), calibration and metrics."""

    directory: Path
    config: RewardModelConfig
    style: StyleHead | None
    calibration: Calibration
    metrics: dict[str, Any]


def read_run(directory: str | os.PathLike[str]) -> RunDirectory:
    """Reads what `write_run` wrote. Raises: InputError, one line, with the path of the missing or broken file."""
    folder = Path(directory)
    # Python would take an empty name for the working directory.
    if not os.fspath(directory) or not folder.is_dir():
        raise InputError("no such run directory", file=folder.absolute())
    config = read_json(_present(folder / CONFIG), RewardModelConfig.from_json)
    style = _read_style(_present(folder / STYLE)) if config.style else None
    calibration = read_json(_present(folder / CALIBRATION), Calibration.from_json)
    metrics = read_json(_present(folder / METRICS), _metrics)
    return RunDirectory(folder, config, style, calibration, metrics)


def is_complete(directory: str | os.PathLike[str]) -> bool:
    """Whether `predict.py` can use it: `read_run` reads it, and weights (sharded or not) and tokenizer are there."""
    try:
        run = read_run(directory)
        weights = list(MODEL_FILES[run.config.model_type])
        index = run.directory / "model.safetensors.index.json"
        if run.config.model_type == "full" and index.is_file():
            weights = ["config.json", *read_json(index, shard_names)]
    except ValueError:
        return False
    return all((run.directory / name).is_file() for name in (*weights, "tokenizer_config.json"))


def shard_names(index: Any) -> list[str]:
    """The weight files that an index of sharded weights names, sorted. Raises: ValueError where it is no such index."""
    names = json_object(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError("expected weight_map, an object of file names")
    return sorted(set(names.values()))


def _metrics(content: Any) -> dict[str, Any]:
    """Figures; the prior among them is an answer of predictions. Raises: ValueError for a prior that is no three shares."""
    metrics = json_object(content)
    prior = metrics.get("prior", [1, 1, 1])
    numbers = isinstance(prior, list) and all(type(share) in (int, float) for share in prior)
    if not numbers or len(prior) != len(LABELS) or not all(0 <= share <= 1 for share in prior):
        raise ValueError(f"'prior' is {prior!r:.80}; expected three shares, each from 0 to 1")
    return metrics


def _read_style(path: Path) -> StyleHead:
    try:
        with safe_open(path, framework="numpy") as stored:
            if missing := sorted(set(STYLE_ARRAYS) - set(stored.keys())):
                raise ValueError(f"arrays lacking: {', '.join(missing)}")
            names = json.loads((stored.metadata() or {}).get("features", "null"))
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("no feature names in its metadata")
            known = [*STYLE_ARRAYS, *(name for name in REACH_ARRAYS if name in stored.keys())]  # noqa: SIM118
            return StyleHead(tuple(names), **{name: stored.get_tensor(name) for name in known})
    except (OSError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise InputError(f"is broken: {error}", file=path) from error


def _present(path: Path) -> Path:
    """The absolute path. Raises: InputError where there is no such file."""
    if not path.is_file():
        raise InputError("missing from the run directory", file=path.absolute())
    return path.absolute()
