"""Writes a run directory.

Everything is checked and drawn before the first file is touched, each file is whole or absent, and
`reward_config.json` is removed first and written last, so that the files of a directory that has one belong together.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as to_safetensors

from arena_data.errors import InputError
from arena_data.file_io import json_text, make_readable, write_atomically, write_bytes_atomically
from reward_model.calibration.calibration import Calibration
from reward_model.model.style_head import REACH_ARRAYS, STYLE_ARRAYS, StyleHead
from reward_model.run_directory.curves import curves_png
from reward_model.run_directory.model_card import model_card
from reward_model.run_directory.settings import (
    CALIBRATION,
    CARD,
    CONFIG,
    CURVES,
    METRICS,
    MODEL_FILES,
    STYLE,
    RewardModelConfig,
)


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
        metrics: figures of the validation battles, for the model card and the curves. NaN and infinities become null.
        log_history: `trainer.state.log_history`; without a loss in it there are no curves.

    Raises: ValueError for a style head that the settings do not speak of, or the reverse; InputError where a file
        cannot be written.
    """
    if config.style != (style is not None):
        raise ValueError(
            f"settings say style={config.style}, but a style head is {'missing' if config.style else 'given'}"
        )
    plain = _plain(metrics)
    curves = curves_png(log_history, plain, Path(directory).resolve().name)
    texts = {
        CALIBRATION: json_text(calibration.to_json()),
        METRICS: json_text(plain),
        CARD: model_card(config, calibration, plain, [CURVES] if curves is not None else []),
        CONFIG: json_text(asdict(config)),
    }
    head = None
    if style is not None:
        arrays = {name: getattr(style, name) for name in (*STYLE_ARRAYS, *REACH_ARRAYS)}
        head = to_safetensors(
            arrays, {"features": json.dumps(style.features), "style_version": str(config.style_version)}
        )

    folder = begin_run(directory)
    for name, content in ((STYLE, head), (CURVES, curves)):
        if content is None:
            _remove(folder / name)
        else:
            write_bytes_atomically(folder / name, content)
    for name, text in texts.items():
        write_atomically(folder / name, text)
    make_readable(folder.glob("*.safetensors"), like=folder / CONFIG)


def begin_run(directory: str | os.PathLike[str], model_type: str | None = None) -> Path:
    """Makes the directory no run until `write_run` has ended: to be called before the model is saved over an earlier one.

    A run that is killed between two of its files would else have new weights beside an old style head and calibration.

    Args:
        model_type: of the model that will be saved; a full one is not to be read with an earlier run's adapter.

    Raises: InputError where the directory cannot be written.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=folder) from error
    for name in (CONFIG, *(MODEL_FILES["adapter"] if model_type == "full" else ())):
        _remove(folder / name)
    return folder


def _plain(value: Any) -> Any:
    """Of JSON's own types: NumPy's numbers and arrays unpacked, what is not finite as None."""
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _remove(path: Path) -> None:
    """Removes what an earlier run left, if anything."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=path) from error
