"""Each setting of TRL and Transformers is honoured, or refused by its name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from transformers.trainer_pt_utils import AcceleratorConfig
from trl import ModelConfig

from arena_data.errors import InputError
from reward_model.cli.train import parser
from reward_model.errors import ModelError
from reward_model.train.settings.config import DataArguments, TieRewardConfig
from reward_model.train.settings.setting_checks import REFUSED, check_honoured, check_ranges, check_trackers

RECIPES = sorted((Path(__file__).parents[4] / "recipes").glob("*.yaml"))
# Values that a person could give; other settings of the list are numbers or texts.
OTHER: dict[str, Any] = {
    "accelerator_config": AcceleratorConfig(even_batches=False),
    "train_sampling_strategy": "group_by_length",
    "hub_strategy": "end",
    "include_num_input_tokens_seen": "all",
}


def config_of(folder: Path, **changed: Any) -> TieRewardConfig:
    config = TieRewardConfig(output_dir=str(folder), use_cpu=True)
    for name, value in changed.items():
        setattr(config, name, value)
    return config


MODEL = ModelConfig(model_name_or_path="someone/model")


def other_value(field: Any) -> Any:
    if field.name in OTHER:
        return OTHER[field.name]
    if isinstance(field.default, bool):
        return not field.default
    return 16 if isinstance(field.default, int) or field.name.startswith(("pad_to", "eval_acc", "dataset_n")) else ["x"]


def test_what_is_not_set_is_not_refused(tmp_path: Path) -> None:
    check_honoured(config_of(tmp_path), MODEL)
    check_ranges(DataArguments(), config_of(tmp_path), MODEL)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_no_recipe_has_a_setting_without_effect(recipe: Path, tmp_path: Path) -> None:
    here = ["--use_cpu", "true", "--bf16", "false", "--fp16", "false", "--output_dir", str(tmp_path)]
    data, config, arguments = parser().parse_run(["--config", str(recipe), *here])
    check_ranges(data, config, arguments)
    check_honoured(config, arguments)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_setting_without_effect_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    [field] = [field for field in dataclasses.fields(TieRewardConfig) if field.name == name]
    with pytest.raises(ModelError, match=f"^{name} is not used; "):
        check_honoured(config_of(tmp_path, **{name: other_value(field)}), MODEL)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"neftune_noise_alpha": 5.0}, "add --padding_free false"),
        ({"metric_for_best_model": "eval_f1"}, "metric_for_best_model is eval_f1; expected one of log_loss"),
        ({"metric_for_best_model": "margin"}, "metric_for_best_model is margin"),
    ],
)
def test_what_cannot_work_is_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        check_honoured(config_of(tmp_path, **changed), MODEL)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_name_or_path": None}, "model_name_or_path is not given"),
        ({"lora_r": 8}, "lora_r is of LoRA; add --use_peft"),
        ({"use_dora": True}, "use_dora is of LoRA"),
        ({"bnb_4bit_quant_type": "fp4", "use_peft": True}, "bnb_4bit_quant_type is of 4-bit weights"),
        ({"lora_task_type": "TOKEN_CLS", "use_peft": True}, "a reward model is SEQ_CLS"),
    ],
)
def test_flags_of_a_model_that_is_not_asked_for_are_refused(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    arguments = ModelConfig(**{"model_name_or_path": "someone/model"} | changed)
    with pytest.raises(ModelError, match=message):
        check_honoured(config_of(tmp_path), arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_steps", 0),
        ("max_steps", -2),
        ("num_train_epochs", 0),
        ("num_train_epochs", float("nan")),
        ("learning_rate", -1e-3),
        ("score_learning_rate", 0.0),
        ("gradient_accumulation_steps", 0),
        ("teacher_weight", 1.5),
        ("teacher_temperature", 0.0),
        ("label_smoothing_factor", -0.1),
        ("max_length", 0),
        ("adversarial_parameters", "("),
        ("validation_share", -0.1),
        ("calibration_share", 1.5),
        ("max_train_battles", 0),
        ("folds", 1),
    ],
)
def test_a_number_that_no_run_can_be_made_of_is_refused(name: str, value: Any, tmp_path: Path) -> None:
    data, config = DataArguments(), config_of(tmp_path)
    setattr(data if hasattr(data, name) else config, name, value)
    with pytest.raises(InputError, match=f"^{name} is "):
        check_ranges(data, config, MODEL)


@pytest.mark.parametrize("metric", ["eval_log_loss", "log_loss", "eval_accuracy"])
def test_better_is_lower_loss_or_higher_accuracy(metric: str, tmp_path: Path) -> None:
    config = TieRewardConfig(output_dir=str(tmp_path), use_cpu=True, metric_for_best_model=metric)
    check_honoured(config, MODEL)
    assert config.greater_is_better == (metric == "eval_accuracy")


def test_a_tracker_is_known_and_installed() -> None:
    check_trackers(["tensorboard"])
    check_trackers([])
    with pytest.raises(ModelError, match="report_to tensorbord: no such tracker"):
        check_trackers(["tensorbord"])
    with pytest.raises(ModelError, match="report_to neptune: it is not installed"):
        check_trackers(["neptune"])
