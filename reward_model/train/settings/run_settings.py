"""What a run's final weights depend on: every setting but those known not to matter, the battles, and the backbone.

A setting that a new version of TRL or Transformers brings counts until it is named here: a run that is refused costs a
minute, weights that no settings give cost a run. Not counted are the code and the machine.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import datasets
from trl import ModelConfig

from arena_data.file_io import content_hash
from arena_data.splits.linking import DEALER_VERSION
from reward_model.train.settings.checks import engine_of
from reward_model.train.settings.config import DataArguments, TieRewardConfig
from reward_model.train.sources import ExtraBattles

# Fields of TieRewardConfig that the weights do not depend on.
WITHOUT_WEIGHT = frozenset(
    {
        # Where files go, and what is shown.
        "output_dir",
        "run_name",
        "report_to",
        "project",
        "trackio_space_id",
        "trackio_bucket_id",
        "trackio_static_space_id",
        "disable_tqdm",
        "verbose",
        "log_level",
        "log_level_replica",
        "log_on_each_node",
        "logging_strategy",
        "logging_steps",
        "logging_first_step",
        "logging_nan_inf_filter",
        "skip_memory_metrics",
        # What becomes of checkpoints and of the finished run.
        "save_total_limit",
        "save_on_each_node",
        "resume_from_checkpoint",
        "push_to_hub",
        "hub_model_id",
        "hub_token",
        "hub_private_repo",
        "hub_strategy",
        "hub_always_push",
        "hub_revision",
        "do_train",
        "do_eval",
        "do_predict",
        # The machine.
        "use_cpu",
        "local_rank",
        "ddp_backend",
        "ddp_timeout",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "torch_empty_cache_steps",
        "debug",
        # A path; what the engine reads there counts, see `settings_of`.
        "deepspeed",
    }
)
# They choose among the checkpoints, where the best one is taken.
WEIGHT_BY_BEST = ("save_strategy", "save_steps")
# Columns of the battles that training does not read. A file's name is in the first two where the file names none.
_UNREAD_COLUMNS = ("id", "source", "session", "voter", "oddities")
FILES = ("train_file", "eval_file", "extra_file")
# Weights, settings, tokenizers and chat templates.
_MODEL_FILES = (".safetensors", ".bin", ".gguf", ".json", ".model", ".txt", ".jinja")


def settings_of(
    data: DataArguments,
    config: TieRewardConfig,
    model: ModelConfig,
    battles: Mapping[str, datasets.Dataset],
    extra: ExtraBattles | None = None,
) -> dict[str, Any]:
    """All that the final weights depend on, as JSON gives it back: settings by name, and hashes of what was read.

    Args:
        battles: the parts as they are trained on, by name.
        extra: battles of other sources.

    Raises: InputError where a file of the backbone cannot be read.
    """
    unread = WITHOUT_WEIGHT if config.load_best_model_at_end else WITHOUT_WEIGHT | {*WEIGHT_BY_BEST}
    plugin = config.deepspeed_plugin
    settings = {
        # Files count by their battles, wherever they lie and within whatever bounds they are read.
        "data": {name: value for name, value in asdict(data).items() if name not in (*FILES, "read_limits")},
        "model": asdict(model) | {"model_name_or_path": backbone_identity(model)},
        "trainer": {field.name: getattr(config, field.name) for field in fields(config) if field.name not in unread}
        | {"init_from": None if config.init_from is None else model_identity(config.init_from)},
        "battles": {name: battles_hash(part) for name, part in battles.items()},
        "extra": None if extra is None else [battles_hash(extra.battles), extra.source.tolist()],
        "dealer": DEALER_VERSION,
        "engine": engine_of(config),
        "deepspeed": None if plugin is None else plugin.hf_ds_config.config,
        # Each is dealt its own batches.
        "processes": config.world_size,
    }
    # DeepSpeed's settings hold infinity, which JSON does not have.
    return json.loads(json.dumps(settings, default=str), parse_constant=str)


def battles_hash(battles: datasets.Dataset) -> str:
    """Of every text, verdict and teacher, in their order; the same wherever the file lies."""
    digest = hashlib.blake2b(digest_size=16)
    read = battles.select_columns([name for name in battles.column_names if name not in _UNREAD_COLUMNS])
    for row in read:
        if not row.get("both_bad"):  # as in checkpoints of before it was read
            row.pop("both_bad", None)
        digest.update(json.dumps(row, sort_keys=True).encode())
    return digest.hexdigest()


def backbone_identity(model: ModelConfig) -> str:
    """A hash of the files of a model directory; a Hub repository's name. Raises: InputError for a file it cannot read."""
    return model_identity(str(model.model_name_or_path))


def model_identity(name: str) -> str:
    """As `backbone_identity`."""
    if not Path(name).is_dir():
        return name
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for path in Path(name).iterdir() if path.suffix in _MODEL_FILES and path.is_file()):
        digest.update(f"{path.name} {content_hash(path)}\n".encode())
    return digest.hexdigest()


def differing_settings(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Names of the settings that are not the same in both. The dealer of folds counts where it dealt other parts."""
    differing = []
    for group in [*settings, *(name for name in stored if name not in settings)]:
        old, new = stored.get(group), settings.get(group)
        if group in ("data", "trainer", "model") and isinstance(old, dict) and isinstance(new, dict):
            names = [*new, *(name for name in old if name not in new)]
            differing += [name for name in names if name not in old or name not in new or old[name] != new[name]]
        elif old != new and not (group == "dealer" and stored.get("battles") == settings.get("battles")):
            differing.append(group)
    return differing
