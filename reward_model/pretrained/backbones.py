"""Where a judge's backbone comes from: the user's folder, `models/NAME`, or a pip package, unpacked once into a cache.

A judge is a fit to one backbone's states, and means nothing with another's: the weights are known by their hash.
"""

import hashlib
import os
from pathlib import Path

from reward_model.errors import ModelError
from reward_model.weights import WEIGHTS, WeightsError, is_complete, make_weights

MODEL = "model.safetensors"


def judge_backbone(name: str, base_model: str | None = None) -> Path:
    """The directory of a judge's backbone, which is made where there is none; that is said on standard error.

    Args:
        name: key of `reward_model.weights.WEIGHTS`.
        base_model: directory to use in its place, which must hold the same weights.

    Raises: ModelError, one line, for other weights, or where there are none and they cannot be had.
    """
    if base_model is not None:
        return _checked(name, Path(base_model))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arena-reward" / name
    for folder in (Path("models") / name, cache):
        if is_complete(name, folder):
            return folder
    where = f"models/{name} or {cache}"
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise ModelError(f"the weights of {name} are not in {where}: run arena-reward weights {name} while online")
    try:
        return make_weights(name, cache)
    except (WeightsError, OSError) as error:
        raise ModelError(f"the weights of {name} are not in {where}, and cannot be had: {error}") from error


def _checked(name: str, folder: Path) -> Path:
    try:
        with (folder / MODEL).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"{folder / MODEL} cannot be read ({error.strerror}); expected the weights of {name}"
        ) from error
    if digest != WEIGHTS[name].sha256:
        raise ModelError(f"{folder / MODEL} is not {name}, which the judge was fitted on: leave out --base_model")
    return folder
