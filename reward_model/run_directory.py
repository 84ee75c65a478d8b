"""The run directory: what a training run leaves, and all that prediction needs apart from the backbone's own weights.

The model and the tokenizer save themselves with `save_pretrained`. This module adds what they do not know: settings,
style head, calibration, metrics, a model card and the learning curves. Everything is checked and drawn before the first
file is touched, each file is whole or absent, and `reward_config.json` is removed first and written last, so that the
files of a directory that has one belong together. JSON and safetensors only; reading needs no torch, no Transformers.

Source: safetensors' format, https://huggingface.co/docs/safetensors.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from arena_data.errors import BattleError
from arena_data.file_io import write_atomically, write_bytes_atomically
from reward_model.calibration import Calibration
from reward_model.model_card import curves_png, is_number, model_card
from reward_model.settings import CALIBRATION, CARD, CONFIG, CURVES, METRICS, MODEL_FILES, STYLE, RewardModelConfig

__all__ = [
    "CALIBRATION",
    "CARD",
    "CLASS_PRIOR",
    "CONFIG",
    "CURVES",
    "METRICS",
    "STYLE",
    "RewardModelConfig",
    "RunDirectory",
    "StyleHead",
    "curves_png",
    "is_complete",
    "model_card",
    "read_run",
    "write_run",
]

# The entry of `metrics` that the curves are held against: what one learns from the verdicts' shares alone.
CLASS_PRIOR = "class_prior_log_loss"

_STYLE_ARRAYS = ("style_reward", "style_tie", "style_similarity", "side_mean", "side_scale", "pair_mean", "pair_scale")

FloatArray = npt.NDArray[np.float32]
Contents = TypeVar("Contents")


@dataclass(frozen=True)
class StyleHead:
    """What style adds to margin and tie strength, and how features are standardised: (feature - mean) / scale.

    Args:
        features: names of the F response features.
        style_reward, style_tie: float32 [F], a and b.
        style_similarity: float32 [1], c.
        side_mean, side_scale: float32 [F], of response features.
        pair_mean, pair_scale: float32 [F + 1], of the F absolute differences and the similarity.

    Raises: ValueError for a wrong shape, a value that is not finite, a scale that is not positive.
    """

    features: tuple[str, ...]
    style_reward: FloatArray
    style_tie: FloatArray
    style_similarity: FloatArray
    side_mean: FloatArray
    side_scale: FloatArray
    pair_mean: FloatArray
    pair_scale: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        count = len(self.features)
        sizes = {"style_similarity": 1, "pair_mean": count + 1, "pair_scale": count + 1}
        for name in _STYLE_ARRAYS:
            array = np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            if np.shape(getattr(self, name)) != (sizes.get(name, count),):
                raise ValueError(
                    f"{name} has shape {np.shape(getattr(self, name))}; expected ({sizes.get(name, count)},)"
                )
            if not np.isfinite(array).all() or (name.endswith("scale") and not (array > 0).all()):
                raise ValueError(f"{name} has values that are not finite, or scales that are not above 0")
            object.__setattr__(self, name, array)


@dataclass(frozen=True)
class RunDirectory:
    """What `read_run` found: where it lies, its settings, style head (None without style), calibration and metrics."""

    directory: Path
    config: RewardModelConfig
    style: StyleHead | None
    calibration: Calibration
    metrics: dict[str, Any]


def write_run(
    directory: str | os.PathLike[str],
    config: RewardModelConfig,
    style: StyleHead | None,
    calibration: Calibration,
    metrics: Mapping[str, Any],
    log_history: Sequence[Mapping[str, Any]],
) -> None:
    """Writes a run's own files beside those of the model and the tokenizer, making the directory where needed.

    Args:
        metrics: held-out figures; numbers at the top level are the model card's headline, `class_prior_log_loss` the
            line in the curves. NaN and infinities become null.
        log_history: `trainer.state.log_history`; without a loss in it there are no curves.

    Raises: ValueError for a style head that the settings do not speak of, or the reverse; BattleError where a file
        cannot be written.
    """
    if config.style != (style is not None):
        raise ValueError(
            f"settings say style={config.style}, but a style head is {'missing' if config.style else 'given'}"
        )
    plain = _plain(metrics)
    prior = plain.get(CLASS_PRIOR)
    curves = curves_png(log_history, prior if is_number(prior) else None)
    texts = {
        CALIBRATION: _json_text(calibration.to_json()),
        METRICS: _json_text(plain),
        CARD: model_card(config, calibration, plain, [CURVES] if curves is not None else []),
        CONFIG: _json_text(asdict(config)),
    }
    head = None
    if style is not None:
        arrays = {name: getattr(style, name) for name in _STYLE_ARRAYS}
        head = to_safetensors(
            arrays, {"features": json.dumps(style.features), "style_version": str(config.style_version)}
        )

    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
    except OSError as error:
        raise BattleError(f"cannot be written: {error.strerror}", file=folder) from error
    for name, content in ((STYLE, head), (CURVES, curves)):
        if content is None:
            _remove(folder / name)
        else:
            write_bytes_atomically(folder / name, content)
    for name, text in texts.items():
        write_atomically(folder / name, text)


def read_run(directory: str | os.PathLike[str]) -> RunDirectory:
    """Reads what `write_run` wrote. Raises: BattleError, one line, with the path of the missing or broken file."""
    folder = Path(directory)
    if not folder.is_dir():
        raise BattleError("no such run directory", file=folder.absolute())
    config = _checked(folder / CONFIG, lambda path: RewardModelConfig.from_json(_read_json(path)))
    style = _checked(folder / STYLE, _read_style) if config.style else None
    calibration = _checked(folder / CALIBRATION, lambda path: Calibration.from_json(_read_json(path)))
    metrics = _checked(folder / METRICS, _read_json)
    if not isinstance(metrics, dict):
        raise BattleError("is broken: expected an object", file=(folder / METRICS).absolute(), found=metrics)
    return RunDirectory(folder, config, style, calibration, metrics)


def is_complete(directory: str | os.PathLike[str]) -> bool:
    """Whether `predict.py` can use it: `read_run` reads it, and weights (sharded or not) and tokenizer are there."""
    try:
        run = read_run(directory)
        weights = MODEL_FILES[run.config.model_type]
        index = run.directory / "model.safetensors.index.json"
        if run.config.model_type == "full" and index.is_file():
            weights = ("config.json", *_read_json(index)["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return all((run.directory / name).is_file() for name in (*weights, "tokenizer_config.json"))


def _plain(value: Any) -> Any:
    """Of JSON's own types: NumPy's numbers and arrays unpacked, what is not finite as None."""
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _remove(path: Path) -> None:
    """Removes what an earlier run left, if anything."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BattleError(f"cannot be written: {error.strerror}", file=path) from error


def _read_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def _read_style(path: Path) -> StyleHead:
    with safe_open(path, framework="numpy") as stored:
        if missing := sorted(set(_STYLE_ARRAYS) - set(stored.keys())):
            raise ValueError(f"arrays lacking: {', '.join(missing)}")
        names = json.loads((stored.metadata() or {}).get("features", "null"))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("no feature names in its metadata")
        return StyleHead(tuple(names), **{name: stored.get_tensor(name) for name in _STYLE_ARRAYS})


def _checked(path: Path, read: Callable[[Path], Contents]) -> Contents:
    if not path.is_file():
        raise BattleError("missing from the run directory", file=path.absolute())
    try:
        return read(path)
    except (OSError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise BattleError(f"is broken: {error}", file=path.absolute()) from error
