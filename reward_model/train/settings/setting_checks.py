"""Each setting of TRL 1.16 and Transformers 5.23 is honoured, or refused by its name before a battle is read.

A setting that is taken and ignored is a run that is not the one that was asked for. `REFUSED` says of each that has no
effect here what to do in its place; numbers out of range and trackers that are not installed are refused as well.
"""

import dataclasses
import math
import re
from typing import Any

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from trl import ModelConfig

from arena_data.errors import InputError
from reward_model.errors import ModelError
from reward_model.train.settings.config import TieRewardConfig

_BATCHES = "batches are filled by tokens; set batch_tokens"
_EVALUATION = "evaluation reads batches by tokens and gathers them itself; set eval_batch_tokens"
_LOADER = "batches are dealt by token budget; only dataloader_num_workers and dataloader_pin_memory are used"
_TOKENIZER = "texts are read with the model's own tokenizer; change its files"
_PUSHING = "the finished run is pushed, once; set hub_model_id"
# Fields of TieRewardConfig that only their default is taken for.
REFUSED = {
    "per_device_train_batch_size": _BATCHES,
    "auto_find_batch_size": _BATCHES,
    "train_sampling_strategy": _BATCHES,
    "length_column_name": _BATCHES,
    "pad_to_multiple_of": _BATCHES,
    "per_device_eval_batch_size": _EVALUATION,
    "prediction_loss_only": _EVALUATION,
    "eval_do_concat_batches": _EVALUATION,
    "eval_use_gather_object": _EVALUATION,
    "eval_accumulation_steps": _EVALUATION,
    "include_for_metrics": _EVALUATION,
    "batch_eval_metrics": _EVALUATION,
    "bf16_full_eval": "evaluation runs in the precision of training; set bf16",
    "fp16_full_eval": "evaluation runs in the precision of training; set fp16",
    "accelerator_config": _LOADER,
    "dataloader_drop_last": _LOADER,
    "dataloader_persistent_workers": _LOADER,
    "dataloader_prefetch_factor": _LOADER,
    "dataloader_multiprocessing_context": _LOADER,
    "dataloader_in_order": _LOADER,
    "remove_unused_columns": "columns are chosen here",
    "label_names": "columns are chosen here",
    "dataset_num_proc": "tokenisation uses all processors by itself",
    "eos_token": _TOKENIZER,
    "pad_token": _TOKENIZER,
    "chat_template_path": _TOKENIZER,
    "model_init_kwargs": "use dtype, attn_implementation and model_revision",
    "trust_remote_code": "a model's own code is never run; choose an architecture that Transformers has",
    "average_tokens_across_devices": "the loss is always the mean over the battles of all devices",
    "include_num_input_tokens_seen": "tokens_per_second is always shown",
    "parallelism_config": "use ZeRO or FSDP by accelerate launch",
    "save_only_model": "a checkpoint without its optimizer cannot be gone on from; set save_strategy no",
    "enable_jit_checkpoint": "a killed run goes on from its last checkpoint; set save_steps",
    "ignore_data_skip": "a run goes on with the battles that it has not read; remove the checkpoints to start anew",
    "restore_callback_states_from_checkpoint": "no callback here has a state",
    "hub_strategy": _PUSHING,
    "hub_always_push": _PUSHING,
    "hub_revision": _PUSHING,
    "do_predict": "use predict.py",
}
# Settings of TieRewardConfig and DataArguments that are numbers: the least, whether it is allowed itself, and the most.
_RANGES: dict[str, tuple[float, bool, float]] = {
    "num_train_epochs": (0, False, math.inf),
    "learning_rate": (0, False, math.inf),
    "score_learning_rate": (0, False, math.inf),
    "weight_decay": (0, True, math.inf),
    "warmup_steps": (0, True, math.inf),
    "gradient_accumulation_steps": (1, True, math.inf),
    "max_grad_norm": (0, True, math.inf),
    "label_smoothing_factor": (0, True, 1),
    "teacher_weight": (0, True, 1),
    "teacher_temperature": (0, False, math.inf),
    "adversarial_norm": (0, True, math.inf),
    "adversarial_start": (0, True, math.inf),
    "center_rewards_coefficient": (0, True, math.inf),
    "batch_tokens": (1, True, math.inf),
    "eval_batch_tokens": (1, True, math.inf),
    "max_length": (1, True, math.inf),
    "dataloader_num_workers": (0, True, math.inf),
    "validation_share": (0, True, 1),
    "calibration_share": (0, False, 1),
    "max_train_battles": (1, True, math.inf),
    "num_folds": (2, True, math.inf),
    "folds": (2, True, math.inf),
    "lora_r": (1, True, math.inf),
    "lora_alpha": (1, True, math.inf),
    "lora_dropout": (0, True, 1),
}
# Figures of an evaluation that say which checkpoint is better.
BEST_BY = ("log_loss", "loss", "accuracy")


def check_honoured(config: TieRewardConfig, arguments: ModelConfig) -> None:
    """Refuses settings that would have no effect. Raises: ModelError, which names the setting and says what to do."""
    if not arguments.model_name_or_path and config.init_from is None:
        raise ModelError("model_name_or_path is not given; name a model directory or a Hub id, or a run with init_from")
    for name, advice in REFUSED.items():
        if _is_set(config, name):
            raise ModelError(f"{name} is not used; {advice}")
    _check_model_flags(arguments)
    if config.neftune_noise_alpha is not None and config.padding_free:
        raise ModelError("neftune_noise_alpha is scaled by the length of one text; add --padding_free false")
    if config.outcomes == "four" and config.encoding != "separate":
        raise ModelError(
            f"outcomes four needs a reward of each response, which a {config.encoding} encoding has not; "
            "use --encoding separate"
        )
    if config.outcomes == "four" and config.center_rewards_coefficient:
        raise ModelError("center_rewards_coefficient pulls rewards away from the zero of outcomes four; leave it out")
    if config.load_best_model_at_end and str(config.metric_for_best_model).removeprefix("eval_") not in BEST_BY:
        raise ModelError(
            f"metric_for_best_model is {config.metric_for_best_model}; expected one of {', '.join(BEST_BY)}"
        )


def check_ranges(*settings: Any) -> None:
    """Refuses numbers that no run can be made of.

    Args:
        settings: objects whose attributes are settings.

    Raises: InputError, which names the setting and the range.
    """
    values = {name: value for part in settings for name, value in vars(part).items()}
    for name, (least, with_least, most) in _RANGES.items():
        value = values.get(name)
        if value is not None and not (least < value <= most or (with_least and value == least)):
            expected = f"{'at least' if with_least else 'above'} {least}" + (
                f", at most {most}" if most < math.inf else ""
            )
            raise InputError(f"{name} is {value}", expected=expected)
    if values.get("max_steps", -1) != -1 and values["max_steps"] < 1:
        raise InputError(f"max_steps is {values['max_steps']}", expected="at least 1, or -1 for num_train_epochs")
    try:
        re.compile(values.get("adversarial_parameters", ""))
    except re.error as error:
        raise InputError(f"adversarial_parameters is no regular expression: {error}") from error


def check_trackers(report_to: list[str]) -> None:
    """Raises: ModelError for a tracker that Transformers does not know or that is not installed."""
    for tracker in report_to:
        if tracker not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise ModelError(f"report_to {tracker}: no such tracker; expected none, all or some of {known}")
        if tracker not in {*get_available_reporting_integrations(), "flyte", "kubeflow"}:
            raise ModelError(f"report_to {tracker}: it is not installed; pip install {tracker}, or --report_to none")


def _is_set(config: TieRewardConfig, name: str) -> bool:
    """Whether a field has another value than its default, or than what TRL and Transformers turn the default into."""
    value = getattr(config, name)
    [field] = [field for field in dataclasses.fields(config) if field.name == name]
    if name == "accelerator_config":
        return value is not None and value != type(value)()
    if name == "pad_to_multiple_of":
        return value is not None and value != field.default
    return bool(value) if field.default is dataclasses.MISSING or field.default is None else value != field.default


def _check_model_flags(arguments: ModelConfig) -> None:
    """What belongs to LoRA or to 4 bits is refused where there is none."""
    defaults = ModelConfig()
    changed = {
        field.name
        for field in dataclasses.fields(arguments)
        if getattr(arguments, field.name) != getattr(defaults, field.name)
    }
    for name in sorted(changed):
        if not arguments.use_peft and (name.startswith("lora_") or name in ("use_dora", "use_rslora")):
            raise ModelError(f"{name} is of LoRA; add --use_peft")
        if not arguments.load_in_4bit and name in (
            "bnb_4bit_quant_type",
            "use_bnb_nested_quant",
            "bnb_4bit_quant_storage",
        ):
            raise ModelError(f"{name} is of 4-bit weights; add --load_in_4bit")
    if arguments.lora_target_parameters:
        raise ModelError("lora_target_parameters is not used; name layers with lora_target_modules")
    if arguments.lora_task_type not in ("CAUSAL_LM", "SEQ_CLS"):
        raise ModelError(f"lora_task_type is {arguments.lora_task_type}; a reward model is SEQ_CLS")
