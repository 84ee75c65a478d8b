"""What of a run directory may be published, in a folder of its own: nothing that is not on the list, and no local path.

Left behind are pickled arguments, checkpoints, logs, the settings of the run (they hold paths) and all data. Where a
setting names a directory of this machine as the backbone, its Hub id takes the place, or the directory's bare name.
"""

import dataclasses
import fnmatch
import json
import os
import shutil
from pathlib import Path
from typing import Any

from arena_data.errors import InputError
from arena_data.file_io import json_object, read_json, write_atomically, write_bytes_atomically, write_json
from reward_model.audit.card import model_fingerprint
from reward_model.run_directory.model_card import CardDetails, model_card, shown_name
from reward_model.run_directory.reading import RunDirectory, is_complete
from reward_model.run_directory.settings import (
    AUDIT,
    AUDIT_PAGE,
    BIAS,
    CALIBRATION,
    CARD,
    CONFIG,
    CURVES,
    METRICS,
    RELIABILITY,
    STYLE,
)

PUBLISHED = (
    *("adapter_config.json", "adapter_model.safetensors", "config.json", "model.safetensors"),
    *("model.safetensors.index.json", "model-?????-of-?????.safetensors"),
    *(CONFIG, STYLE, CALIBRATION, METRICS, CARD, CURVES, RELIABILITY, BIAS, AUDIT, AUDIT_PAGE),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
)
_WRITTEN_ANEW = (CARD, CONFIG, "adapter_config.json", RELIABILITY, BIAS, AUDIT, AUDIT_PAGE)
# Where Transformers and PEFT note the directory that something was loaded from.
_PATH_KEYS = ("_name_or_path", "name_or_path", "base_model_name_or_path")


def stage(run: RunDirectory, folder: Path, *, base_model: str | None, details: CardDetails) -> list[str]:
    """Fills an empty folder with what may be published; returns lines on what was changed, for the person who publishes.

    Args:
        base_model: Hub id of the backbone, in the place of the one that the run names.
        details: what the model card is to say besides.

    Raises: InputError where the run is not complete, or a file would give a local path away.
    """
    if not is_complete(run.directory):
        raise InputError("not a complete run", file=run.directory, expected="weights, tokenizer and settings")
    named = run.config.base_model
    base = base_model or shown_name(named)
    config = dataclasses.replace(run.config, base_model=base)
    if base_model and base_model != named:
        config = dataclasses.replace(config, base_model_revision=None)
    for source in sorted(run.directory.iterdir()):
        if not source.is_file() or not any(fnmatch.fnmatchcase(source.name, pattern) for pattern in PUBLISHED):
            continue
        if source.name in _WRITTEN_ANEW:
            continue
        if not os.access(source, os.R_OK):
            raise InputError("cannot be read (permission denied)", file=source)
        if source.suffix == ".json" and source.name not in ("tokenizer.json", "vocab.json"):
            write_json(folder / source.name, read_json(source, lambda content: _without_paths(json_object(content))))
        else:
            _place(source, folder / source.name)
    if run.config.model_type == "adapter":
        adapter = read_json(run.directory / "adapter_config.json", json_object)
        write_json(folder / "adapter_config.json", adapter | {"base_model_name_or_path": base})
    write_json(folder / CONFIG, dataclasses.asdict(config))
    if details.report:
        from reward_model.publish.card_pictures import PICTURES  # drawing takes seconds to import

        for name, draw in PICTURES.items():
            if picture := draw(dict(details.report)):
                write_bytes_atomically(folder / name, picture)
    audit_lines = _place_audit(run.directory, folder)
    pictures = {path.name for path in folder.iterdir() if path.suffix == ".png"}
    write_atomically(folder / CARD, model_card(config, run.calibration, run.metrics, pictures, details))
    _check_paths(folder, (str(run.directory.resolve()), os.getcwd(), os.path.expanduser("~"), named))
    if base == named or base_model:
        return audit_lines
    fix = " Others need --base_model to load the adapter." if config.model_type == "adapter" else ""
    return [
        f"the backbone {named!r} is a directory here, and is called {base!r} there; give its Hub id.{fix}",
        *audit_lines,
    ]


def _place_audit(directory: Path, folder: Path) -> list[str]:
    """The audit's card and its page, where there are any; the card with the hash of the files as published.

    Returns: a line where they are of other files than these, and stay behind.
    """
    if not (directory / AUDIT).is_file():
        return []
    card = read_json(directory / AUDIT, json_object)
    if card.get("files") != model_fingerprint(directory):
        return [f"{AUDIT} is of other files than these and is left out; audit the run again"]
    write_json(folder / AUDIT, card | {"files": model_fingerprint(folder)})
    if (directory / AUDIT_PAGE).is_file():
        _place(directory / AUDIT_PAGE, folder / AUDIT_PAGE)
    return []


def _without_paths(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in _PATH_KEYS}


def _place(source: Path, target: Path) -> None:
    """The file itself under another name where the disk can do that, else a copy."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _check_paths(folder: Path, paths: tuple[str, ...]) -> None:
    telling = [path for path in paths if path.count("/") + path.count("\\") > 1 or path == os.path.expanduser("~")]
    for file in sorted(folder.iterdir()):
        if file.suffix not in (".json", ".md") or file.name in ("tokenizer.json", "vocab.json"):
            continue
        text = file.read_text("utf-8")
        for path in telling:
            if len(path) > 1 and (path in text or json.dumps(path)[1:-1] in text):
                raise InputError("would publish a path of this machine", file=file.name, found=path)
