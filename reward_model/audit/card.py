"""The audit's card of a model: `audit.json` beside it, and the limit on sway that exporting and publishing may set.

The card names the files that it was made for by their content, so that no card of an earlier model passes for this one's.
"""

import os
from pathlib import Path
from typing import Any

from arena_data.errors import InputError
from arena_data.file_io import content_hash, fingerprint, json_object, read_json, write_json
from reward_model.audit.audit import Figures
from reward_model.run_directory.settings import AUDIT, METRICS

# What answers depend on: weights, settings, tokenizers and chat templates.
_ENDINGS = (".safetensors", ".json", ".jinja", ".model", ".txt", ".skops")
_AUDIT = "arena-reward audit {} --input labelled.csv"


def model_fingerprint(directory: str | os.PathLike[str]) -> str:
    """Of the content of a model directory's files, the card and the figures of training apart."""
    files = sorted(path for path in Path(directory).iterdir() if path.suffix in _ENDINGS and path.is_file())
    return fingerprint(files={path.name: content_hash(path) for path in files if path.name not in (AUDIT, METRICS)})


def card_of(name: str, directory: str | os.PathLike[str] | None, audit: Figures, closed: Figures | None) -> Figures:
    """The card as plain data. directory: of the model; None for a function. closed: the audit without the style head."""
    return {
        "model": name,
        "files": None if directory is None else model_fingerprint(directory),
        "sway": audit["sway"],
        "sway_style_off": None if closed is None else closed["sway"],
        "audit": audit,
        "audit_style_off": closed,
    }


def write_card(folder: str | os.PathLike[str], card: Figures) -> None:
    """Raises: InputError where it cannot be written."""
    write_json(Path(folder) / AUDIT, card)


def check_sway(directory: str | os.PathLike[str], most: float, *, style: bool) -> None:
    """Lets a model pass whose card says that no dress and no position sways it by more than so much.

    Args:
        directory: of a model that `arena-reward audit` has left its card in.
        most: the largest effect allowed, in win share, from 0 to 0.5.
        style: whether the style head will be open; an export leaves it out.

    Raises: InputError for no card, one of other files, or a larger effect.
    """
    path, fix = Path(directory) / AUDIT, _AUDIT.format(directory)
    if not 0 <= most <= 0.5:
        raise InputError("--max_sway is no share of wins", found=most, expected="a number from 0 to 0.5")
    if not path.is_file():
        raise InputError("has no audit, so its sway is not known", file=directory, fix=fix)
    card: dict[str, Any] = read_json(path, json_object)
    if card.get("files") != model_fingerprint(directory):
        raise InputError("the audit is of other files than these", file=path, fix=fix)
    effect = card.get("sway_style_off") if not style and card.get("sway_style_off") else card.get("sway")
    if not isinstance(effect, dict) or not isinstance(effect.get("value"), int | float):
        raise InputError("the audit had too few battles to tell the sway", file=path, fix=fix)
    if abs(effect["value"]) > most:
        raise InputError(
            f"is swayed by {abs(effect['value']):.3f} of a win ({effect['name']})",
            file=directory,
            expected=f"at most {most:g}",
            fix="nothing was written",
        )
