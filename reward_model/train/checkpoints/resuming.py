"""Going on where a run stopped, and only where it is the same run.

A run leaves its settings in its output directory before the first step, and in the manifest of each checkpoint. Started
again with other settings or other battles it would go on from a checkpoint that is not its own, and end with weights that
no settings give; that is refused. A checkpoint that is not whole is passed over for the one before, with a line.
"""

import re
from pathlib import Path
from typing import Any

from arena_data.errors import InputError
from arena_data.file_io import json_object, read_json, write_json
from reward_model.run_directory.reading import is_complete
from reward_model.train.checkpoints.manifest import read_manifest
from reward_model.train.settings.run_settings import differing_settings

SETTINGS = "run_settings.json"
_STATE = "trainer_state.json"
_NUMBER = re.compile(r"^checkpoint-(\d+)$")


def checkpoint_to_resume(
    output_dir: str, settings: dict[str, Any], wanted: str | None = None
) -> tuple[str | None, list[str]]:
    """Where to go on from, None for the start, and a line for each checkpoint that is passed over.

    Args:
        output_dir: where the run's checkpoints and settings lie.
        settings: as `reward_model.train.settings.run_settings.settings_of` gives them.
        wanted: `--resume_from_checkpoint`: none or true for the newest checkpoint, false for the start, or a checkpoint.

    Raises: InputError for a directory that holds another run, naming what differs, and for a wanted checkpoint that is not
        whole or not of this run.
    """
    folder = Path(output_dir)
    answer = (wanted or "true").lower()
    if answer not in ("true", "false"):
        return str(_wanted_checkpoint(Path(str(wanted)), settings)), []
    numbered = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _NUMBER.search(path.name))]
    if answer == "false" and numbered:
        raise InputError(
            "holds checkpoints, and --resume_from_checkpoint false starts anew",
            file=output_dir,
            fix="remove it, or give another --output_dir",
        )
    lines = []
    for _, checkpoint in sorted(numbered, reverse=True):
        try:
            stored = _whole_with_its_best(checkpoint)
        except InputError as error:
            lines.append(f"{checkpoint.name} is passed over: {error}")
            continue
        _refuse_another(folder, stored, settings)
        return str(checkpoint), lines
    if numbered or is_complete(folder):
        _refuse_another(folder, _stored_settings(folder), settings)
    return None, lines


def write_settings(output_dir: str, settings: dict[str, Any]) -> None:
    """Leaves the settings for `checkpoint_to_resume`. Raises: InputError where the directory cannot be written."""
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    write_json(Path(output_dir) / SETTINGS, settings)


def _wanted_checkpoint(checkpoint: Path, settings: dict[str, Any]) -> Path:
    if not checkpoint.is_dir():
        raise InputError(
            "--resume_from_checkpoint names no checkpoint",
            file=checkpoint,
            expected="a folder checkpoint-N, true or false",
        )
    _refuse_another(checkpoint, _whole_with_its_best(checkpoint), settings)
    return checkpoint


def _whole_with_its_best(checkpoint: Path) -> dict[str, Any]:
    """Its settings. Raises: InputError for a checkpoint that is not whole, or whose best one so far is not."""
    settings = read_manifest(checkpoint)
    best = read_json(checkpoint / _STATE, json_object).get("best_model_checkpoint")
    # The path is of where the run lay at that time; the two lie side by side.
    if (
        best is not None
        and Path(best).name != checkpoint.name
        and settings.get("trainer", {}).get("load_best_model_at_end")
    ):
        read_manifest(checkpoint.parent / Path(best).name)
    return settings


def _stored_settings(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / SETTINGS, json_object)
    except InputError:
        return {}


def _refuse_another(folder: Path, stored: dict[str, Any], settings: dict[str, Any]) -> None:
    if stored != settings:
        differing = ", ".join(differing_settings(stored, settings)) if stored else "all that is known of it"
        raise InputError(
            f"holds another run, which differs in {differing}",
            file=folder,
            fix="remove it, or give another --output_dir",
        )
