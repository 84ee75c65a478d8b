"""What a run is: every setting and every text counts, but those known not to matter; where files lie does not."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
from trl import ModelConfig

from arena_data.file_io import json_object, read_json, write_json
from reward_model.train.settings.config import DataArguments, TieRewardConfig
from reward_model.train.settings.run_settings import (
    WEIGHT_BY_BEST,
    WITHOUT_WEIGHT,
    backbone_identity,
    battles_hash,
    differing_settings,
    settings_of,
)
from reward_model.train.settings.setting_checks import REFUSED
from tests.helpers.made_battles import by_length

# Fields of TieRewardConfig that count; `REFUSED` has only one value in a run, and counts as well. A field that is in no list
# is new in TRL or Transformers: read what it does, then name it here or there.
_COUNTED = """
    num_train_epochs max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args weight_decay
    adam_beta1 adam_beta2 adam_epsilon optim_target_modules gradient_accumulation_steps max_grad_norm label_smoothing_factor
    bf16 fp16 tf32 activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing
    gradient_checkpointing_kwargs torch_compile torch_compile_backend torch_compile_mode use_liger_kernel
    liger_kernel_config use_cache neftune_noise_alpha eval_strategy eval_steps eval_delay eval_on_start save_strategy
    save_steps load_best_model_at_end metric_for_best_model greater_is_better full_determinism seed data_seed
    ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph fsdp fsdp_config disable_dropout
    max_length center_rewards_coefficient activation_offloading encoding tie_link style batch_tokens eval_batch_tokens
    padding_free teacher_weight teacher_temperature adversarial_norm adversarial_start adversarial_parameters
    score_learning_rate grades init_from outcomes show_models
    """
COUNTED = set(_COUNTED.split())


def config_of(folder: Path, **changed: Any) -> TieRewardConfig:
    return TieRewardConfig(output_dir=str(folder), use_cpu=True, **changed)


def settings(folder: Path, **changed: Any) -> dict[str, Any]:
    """The settings of a run whose fields are changed after the dataclass is made, so that no check of its own objects."""
    config = config_of(folder)
    for name, value in changed.items():
        setattr(config, name, value)
    return settings_of(DataArguments(), config, ModelConfig(model_name_or_path="someone/model"), {})


def test_every_field_is_known_to_count_or_not_to() -> None:
    names = {field.name for field in dataclasses.fields(TieRewardConfig)}
    assert names == COUNTED | WITHOUT_WEIGHT | REFUSED.keys()
    assert not COUNTED & WITHOUT_WEIGHT


@pytest.mark.parametrize("name", sorted(field.name for field in dataclasses.fields(TieRewardConfig)))
def test_a_changed_field_is_another_run_unless_it_cannot_matter(name: str, tmp_path: Path) -> None:
    differing = differing_settings(settings(tmp_path), settings(tmp_path, **{name: "something else"}))
    assert [other for other in differing if other != "engine"] == ([] if name in WITHOUT_WEIGHT else [name])


def test_infinity_can_be_stored(tmp_path: Path) -> None:
    stored = settings(tmp_path, learning_rate=float("inf"))
    write_json(tmp_path / "stored.json", stored)
    assert read_json(tmp_path / "stored.json", json_object) == stored


@pytest.mark.parametrize("name", WEIGHT_BY_BEST)
def test_where_checkpoints_are_saved_matters_only_for_the_best_of_them(name: str, tmp_path: Path) -> None:
    last = {"load_best_model_at_end": False}
    assert settings(tmp_path, **last) == settings(tmp_path, **last, **{name: 7})
    assert settings(tmp_path) != settings(tmp_path, **{name: 7})


@pytest.mark.parametrize("name", sorted(field.name for field in dataclasses.fields(ModelConfig)))
def test_a_changed_field_of_the_model_is_another_run(name: str, tmp_path: Path) -> None:
    changed = ModelConfig(model_name_or_path="someone/model")
    setattr(changed, name, "something else")
    ours = settings(tmp_path)
    assert differing_settings(ours, settings_of(DataArguments(), config_of(tmp_path), changed, {})) == [name]


def rows(count: int = 3) -> list[dict[str, Any]]:
    return by_length(count, 0).to_list()


def dataset(content: list[dict[str, Any]]) -> datasets.Dataset:
    return datasets.Dataset.from_list(content, features=by_length(1, 0).features)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", ["another"]),
        ("response_a", ["another"]),
        ("response_b", ["a", "b"]),
        ("verdict", [0.2, 0.3, 0.5]),
        ("teacher", [0.2, 0.3, 0.5]),
        ("group", "another"),
    ],
)
def test_a_changed_cell_is_another_run(name: str, value: Any) -> None:
    changed = rows()
    changed[1][name] = value
    assert battles_hash(dataset(changed)) != battles_hash(dataset(rows()))


def test_exchanged_responses_and_another_order_are_another_run() -> None:
    exchanged = rows()
    exchanged[0]["response_a"], exchanged[0]["response_b"] = exchanged[0]["response_b"], exchanged[0]["response_a"]
    assert battles_hash(dataset(exchanged)) != battles_hash(dataset(rows()))
    assert battles_hash(dataset(rows()[::-1])) != battles_hash(dataset(rows()))


def test_where_the_battles_lie_is_no_other_run(tmp_path: Path) -> None:
    renamed = [row | {"source": "renamed", "id": f"renamed-{row['id']}"} for row in rows()]
    here, there = (
        settings_of(
            DataArguments(train_file=[file], eval_file=[file]),
            config_of(tmp_path),
            ModelConfig(model_name_or_path="someone/model"),
            {"train": dataset(content)},
        )
        for file, content in (("a.csv", rows()), ("b/c.csv", renamed))
    )
    assert here == there


def test_a_backbone_is_its_files_wherever_they_lie(tmp_path: Path) -> None:
    first, moved = tmp_path / "first", tmp_path / "moved"
    first.mkdir()
    (first / "config.json").write_text("{}")
    (first / "model.safetensors").write_bytes(b"weights")
    shutil.copytree(first, moved)
    (moved / "notes.md").write_text("not read")

    def identity(folder: Path) -> str:
        return backbone_identity(ModelConfig(model_name_or_path=str(folder)))

    assert identity(first) == identity(moved)
    (moved / "model.safetensors").write_bytes(b"WEIGHTS")
    assert identity(first) != identity(moved)
    assert identity(Path("someone/model")) == "someone/model"


def test_another_dealer_of_folds_counts_where_it_dealt_other_parts(tmp_path: Path) -> None:
    now = settings(tmp_path)
    before = {name: value for name, value in now.items() if name != "dealer"}
    assert now["dealer"] == 2 and differing_settings(before, now) == []
    others = now | {"battles": {"train": "other"}}
    assert differing_settings(before, others) == ["battles", "dealer"]


def test_both_bad_counts_and_whoever_voted_does_not() -> None:
    changed = rows()
    changed[1]["voter"], changed[0]["session"], changed[0]["both_bad"] = "someone", "s", 0.0
    assert battles_hash(dataset(changed)) == battles_hash(dataset(rows()))
    changed[1]["both_bad"] = 0.5
    assert battles_hash(dataset(changed)) != battles_hash(dataset(rows()))
