"""The judges that ship, by name: `--model arena-style` and `RewardModel.from_pretrained("arena-style")`.

A judge is a directory of a baseline (`reward_model.baselines.base`) with two files more: `judge.json`, what it is and where
it is at home (`reward_model.pretrained.judge_file`), and README.md, its card. `python -m experiments.ship` makes them anew.
"""

import os
from importlib.resources import files
from pathlib import Path

# Name: the folder beside this module.
JUDGES = {"arena-style": "style", "arena-minilm": "minilm"}
DEFAULT = "arena-style"


def judge_folder(name: str | os.PathLike[str]) -> Path | None:
    """Where the judge of this name lies; None for any other name, and where a file or folder of this name is there."""
    text = os.fspath(name)
    if text not in JUDGES or os.path.exists(text):
        return None
    return shipped_folder(text)


def shipped_folder(name: str) -> Path:
    """Where the judge lies, whatever there is in the working directory."""
    return Path(str(files("reward_model.pretrained"))) / JUDGES[name]
