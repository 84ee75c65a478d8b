"""What training and prediction load alike: a model's tokenizer, the kinds of numbers a device computes well.

Source: https://huggingface.co/docs/transformers/main_classes/tokenizer.
"""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from reward_model.errors import ModelError


def set_pad_token(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Tells the model which token is padding: stock pooling looks for it."""
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.config.pad_token_id = tokenizer.pad_token_id


def within_positions(model: Any, max_length: int) -> int:
    """max_length, or as many tokens as the model has positions for: more than that are an error deep inside it."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(max_length, positions or max_length)


def without_cache(model: Any) -> dict[str, bool]:
    """The argument of a forward pass that keeps no keys and values: {} for a model that keeps none anyway.

    A score needs one pass; the cache of Gemma 2 9B would be 344 kB a token.
    """
    return {"use_cache": False} if getattr(model.config, "use_cache", False) else {}


def dtype_named(name: str) -> torch.dtype:
    """Raises: ModelError for another name than float32, bfloat16 and float16."""
    dtype = getattr(torch, name, None)
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ModelError(f"dtype is {name!r}; expected float32, bfloat16 or float16")
    assert isinstance(dtype, torch.dtype)
    return dtype


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 or float16 where the device computes them faster than float32, asked of the hardware.

    A GPU below compute capability 8 (T4, V100) has float16 only; a CPU is quick at bfloat16 with AVX512-BF16 or AMX, and
    emulates it otherwise.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return torch.float32


def check_positions(model: torch.nn.Module, max_length: int) -> None:
    """Refuses rows with more positions than the model has embeddings for: an index error, deep inside it.

    Raises: ModelError, which names the most that max_length can be.
    """
    for name, module in model.named_modules():
        if name.endswith(("position_embeddings", ".wpe", ".embed_positions")) and isinstance(
            module, torch.nn.Embedding
        ):
            # RoBERTa counts positions from its padding's on, OPT from an offset on.
            first = getattr(module, "offset", 0 if module.padding_idx is None else module.padding_idx + 1)
            positions = module.num_embeddings - first
            if max_length > positions:
                raise ModelError(f"max_length is {max_length}, but the model has {positions} positions; lower it")


def check_extension(model: Any, max_length: int, trained: int) -> None:
    """Refuses texts longer than in training where rotary positions end, which is no error deep inside but noise.

    Args:
        trained: max_length of training, which is allowed whatever the configuration says.

    Raises: ModelError, which names the most that max_length can be.
    """
    config = model.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    rotary = any("rotary" in name for name, _ in model.named_modules())
    if not rotary or not positions or max_length <= trained:
        return
    scaling = getattr(config, "rope_parameters", None) or {}
    # A scaled model (YaRN) may still name the positions before scaling.
    positions = max(positions, int(scaling.get("factor", 1) * scaling.get("original_max_position_embeddings", 0)))
    if max_length > positions:
        raise ModelError(f"max_length is {max_length}, but the model has {positions} positions; lower it")
