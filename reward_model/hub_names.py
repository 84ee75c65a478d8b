"""Which names are the Hub's: what is meant as a folder here is never asked of it, since without a network that takes long.

A name with one slash, such as `runs/demo`, could be both. The folders that this project's recipes and pages write to decide.

Source: https://huggingface.co/docs/hub/repositories-getting-started.
"""

import os

from reward_model.errors import ModelError
from reward_model.weights import WEIGHTS

OWN_FOLDERS = ("models", "runs")


def means_folder(name: str | os.PathLike[str]) -> bool:
    """Whether a name is one of a folder here, whatever lies there."""
    text = os.fspath(name)
    return text.startswith((".", "/", "~")) or text.count("/") > 1 or text.partition("/")[0] in OWN_FOLDERS


def check_model_there(name: str | os.PathLike[str]) -> None:
    """Raises: ModelError for a folder that is not there. A name that may be the Hub's passes."""
    if os.path.exists(name) or not means_folder(name):
        return
    folder, _, weights = os.fspath(name).rpartition("/")
    fix = f"; arena-reward weights {weights} writes it" if folder == "models" and weights in WEIGHTS else ""
    raise ModelError(f"{name}: no such directory{fix}")
