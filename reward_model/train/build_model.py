"""From flags to a model: a stock sequence classifier with a TieAwareScore as its last layer, LoRA around it if asked for.

Everything that can be refused is refused here, in one line, before a battle is tokenised.
"""

import os
import re
from collections.abc import Iterable
from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase
from trl import ModelConfig, get_peft_config, get_quantization_config

from reward_model.errors import ModelError, one_line
from reward_model.model.backbone import dtype_named, set_pad_token
from reward_model.model.device import default_device
from reward_model.model.old_torchao import pass_over_old_torchao
from reward_model.model.pretrained import head_names, load_pretrained
from reward_model.model.quantised import check_trains
from reward_model.model.score_layer import head_module_names, install_score_layer


def load_model(
    arguments: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    style_features: int,
    tie_bias: float,
    sources: int = 0,
    grade_levels: int = 0,
    needs_head: bool = False,
    zero: float | None = None,
) -> Any:
    """A sequence classifier with one label and a TieAwareScore in place of its last linear layer.

    The layer of a reward model is kept; where the checkpoint has none, text says nothing until it is trained.

    Args:
        style_features, tie_bias, sources, grade_levels: as for `install_score_layer`.
        needs_head: refuse a checkpoint that is no reward model.

    Raises: ModelError for a model that is not there, or whose head does not fit.
    """
    name = arguments.model_name_or_path
    if not name:
        raise ModelError("model_name_or_path is not given; name a model directory or a Hub id")
    options: dict[str, Any] = {"revision": arguments.model_revision, "num_labels": 1, "dtype": _dtype(arguments)}
    if arguments.attn_implementation:
        options["attn_implementation"] = arguments.attn_implementation
    quantization = get_quantization_config(arguments)
    if quantization is not None:
        options["quantization_config"] = quantization
    try:
        head = head_names(name, arguments.model_revision)
        if quantization is not None:
            # The score layer is never quantised, in 4 bits as in 8 (both read this list).
            quantization.llm_int8_skip_modules = head
        model, drawn_at_random = load_pretrained(AutoModelForSequenceClassification, name, new=head, **options)
        check_trains(model, name, adapters=bool(arguments.use_peft))
        layer = install_score_layer(
            model,
            style_features=style_features,
            tie_bias=tie_bias,
            sources=sources,
            grade_levels=grade_levels,
            zero=zero,
        )
        if f"{layer.stock_name}.weight" in drawn_at_random:
            if needs_head:
                raise ModelError(f"--init_from {name} is no one-label reward model: its score layer has no weights")
            layer.start_from_nothing()
    except ModelError:
        raise
    except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
        # ImportError: such as flash-attn, which attn_implementation may name.
        where = "is not a directory and cannot be fetched" if not os.path.isdir(name) else "cannot be loaded"
        raise ModelError(f"{name}: {where} ({one_line(error)})") from error
    set_pad_token(model, tokenizer)
    return model


def _dtype(arguments: ModelConfig) -> torch.dtype | str:
    if arguments.dtype in (None, "auto"):
        return torch.float32 if not arguments.load_in_4bit else torch.bfloat16
    return dtype_named(str(arguments.dtype))


def lora_config(arguments: ModelConfig, model: Any) -> LoraConfig | None:
    """The LoRA configuration that TRL's flags ask for, with the score layer among what is saved whole.

    Raises: ModelError for flags that name what the model does not have, or the same part twice.
    """
    config = get_peft_config(arguments)
    pass_over_old_torchao()
    if not isinstance(config, LoraConfig):
        return None
    config.task_type = "SEQ_CLS"
    head = head_module_names(model)
    saved = _matches(model, "lora_modules_to_save", config.modules_to_save or [])
    config.modules_to_save = sorted({*(config.modules_to_save or []), *head})
    wanted = config.target_modules or "all-linear"
    if wanted == "all-linear":
        config.target_modules = wanted
        linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
        targeted = {name for name in linear if not _within(name, head)}
    else:
        # TRL makes a text of a list of one: a regular expression, or the name that was given.
        if isinstance(wanted, str) and not any(re.fullmatch(wanted, name) for name, _ in model.named_modules()):
            config.target_modules = [wanted]
        targeted = _matches(model, "lora_target_modules", config.target_modules or [])
    twice = sorted(name for name in targeted if _within(name, saved))
    if twice:
        raise ModelError(
            f"lora_modules_to_save trains {twice[0]} whole, and LoRA adapts it; leave it out of lora_target_modules"
        )
    trained_anyway = sorted(name for name in targeted if _within(name, head))
    if trained_anyway:
        raise ModelError(
            f"lora_target_modules names {trained_anyway[0]}, which is new and is trained whole; leave it out"
        )
    return config


def _within(name: str, parts: Iterable[str]) -> bool:
    """Whether a module is one of the parts or lies in one."""
    return any(f"{name}.".startswith(f"{part}.") for part in parts)


def _matches(model: Any, flag: str, wanted: Any) -> set[str]:
    """Names of the modules that are wanted: by a regular expression, or by the ends of their names.

    Raises: ModelError for one that matches nothing.
    """
    names = [name for name, _ in model.named_modules()]
    if isinstance(wanted, str):
        return {name for name in names if re.fullmatch(wanted, name)}
    matches = {end: {name for name in names if name == end or name.endswith(f".{end}")} for end in sorted(wanted)}
    missing = [end for end, matching in matches.items() if not matching]
    if missing:
        linear = {name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        raise ModelError(f"{flag} {', '.join(missing)} match nothing; linear layers here: {', '.join(sorted(linear))}")
    return set().union(*matches.values())


def check_device(bf16: bool, use_cpu: bool) -> None:
    """Raises: ModelError for bf16 on a device that computes it in software only, a hundred times slower."""
    if not bf16:
        return
    device = default_device()
    if use_cpu or device.type == "cpu":
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise ModelError("this CPU has no bf16; use --bf16 false")
    elif device.type == "cuda" and torch.cuda.get_device_capability()[0] < 8:
        raise ModelError(f"{torch.cuda.get_device_name()} has no bf16; use --fp16 true --bf16 false")
