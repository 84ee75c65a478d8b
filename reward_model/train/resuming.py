"""Going on where a run stopped, and only where it is the same run.

A run leaves its settings in its output directory before the first step. Started again with other settings or other
battles it would go on from a checkpoint that is not its own, and end with weights that no settings give; that is refused.
A checkpoint whose state was not yet written (the process was killed while saving) is passed over.

Source: Transformers' Trainer writes trainer_state.json last, https://huggingface.co/docs/transformers/main_classes/trainer.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
from trl import ModelConfig

from arena_data.errors import InputError
from arena_data.file_io import json_object, read_json, write_json
from reward_model.train.config import DataArguments, TieRewardConfig

SETTINGS = "run_settings.json"
_NUMBER = re.compile(r"^checkpoint-(\d+)$")
# Of the trainer's settings, those that the final weights depend on.
_TRAINER = (
    "encoding",
    "tie_link",
    "style",
    "max_length",
    "batch_tokens",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "score_learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "optim",
    "max_grad_norm",
    "label_smoothing_factor",
    "center_rewards_coefficient",
    "teacher_weight",
    "teacher_temperature",
    "adversarial_norm",
    "adversarial_start",
    "adversarial_parameters",
    "disable_dropout",
    "bf16",
    "fp16",
    "seed",
    "data_seed",
)


def settings_of(
    data: DataArguments, config: TieRewardConfig, model: ModelConfig, battles: Mapping[str, datasets.Dataset]
) -> dict[str, Any]:
    """All that the final weights depend on, apart from the code, the machine and the number of processes."""
    digest = hashlib.blake2b(digest_size=16)
    for name, part in battles.items():
        for row in zip(part["group"], part["id"], part["verdict"], strict=True):
            digest.update(repr((name, *row)).encode("utf-8", "replace"))
    settings = {"data": asdict(data), "model": asdict(model), "battles": digest.hexdigest()}
    settings["trainer"] = {name: getattr(config, name) for name in _TRAINER}
    return json.loads(json.dumps(settings, default=str))  # as it reads back


def last_checkpoint(output_dir: str, settings: dict[str, Any]) -> str | None:
    """The newest whole checkpoint of this very run, or None.

    Raises: ValueError where the directory has checkpoints of a run with other settings, naming what differs.
    """
    folder = Path(output_dir)
    numbered = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _NUMBER.search(path.name))]
    whole = [path for _, path in sorted(numbered) if _has_state(path)]
    if not whole:
        return None
    try:
        stored = read_json(folder / SETTINGS, json_object)
    except InputError:
        stored = {}
    if stored != settings:
        differing = ", ".join(_differing(stored, settings)) or "all that is known of it"
        raise ValueError(
            f"{output_dir} holds the checkpoints of another run, which differs in {differing}; remove it, or give another "
            "--output_dir"
        )
    return str(whole[-1])


def write_settings(output_dir: str, settings: dict[str, Any]) -> None:
    """Leaves the settings for `last_checkpoint`. Raises: InputError where the directory cannot be written."""
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    write_json(Path(output_dir) / SETTINGS, settings)


def _has_state(checkpoint: Path) -> bool:
    try:
        read_json(checkpoint / "trainer_state.json", json_object)
    except InputError:
        return False
    return True


def _differing(stored: Any, settings: dict[str, Any]) -> list[str]:
    if not isinstance(stored, dict):
        return []
    differing = []
    for name, new in settings.items():
        old = stored.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            differing += [key for key in new if old.get(key) != new[key]]
        elif old != new:
            differing.append(name)
    return differing
