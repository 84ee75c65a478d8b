"""What would fail after hours, refused in seconds: engines, quantisation, precision and budgets that do not go together.

| refused | why | source |
| --- | --- | --- |
| (eval_)batch_tokens under 2 x max_length | a battle's two rows are read in one batch | `reward_model.tokens.token_budget` |
| 4 or 8 bits without LoRA | packed weights cannot be trained | Transformers' quantisation guide |
| 4 bits whose dtype is not that of mixed precision | bitsandbytes computes in the one, autocast in the other | |
| 8 bits with checkpointing that is not reentrant | every layer's inputs stay all the same | bitsandbytes' MatMul8bitLt |
| the same under DDP that looks for unused parameters | DDP stops at the second backward | PyTorch's DDP notes |
| 8 bits under ZeRO 3 or FSDP | int8 weights are not sharded | PEFT's DeepSpeed and FSDP guides |
| 4 bits under FSDP, stored in another dtype | it shards parameters of one dtype | bitsandbytes' FSDP-QLoRA guide |
| FSDP without a GPU | accelerate would run lone processes, each training a model of its own | accelerate 1.15 |
| adversarial perturbation under ZeRO 3 or FSDP | it needs whole weights | `reward_model.train.adversarial` |
| torch_compile | it compiles again for each shape, and no two batches of a token budget have the same | |
| use_liger_kernel, activation_offloading without a GPU | Triton's kernels; copies off a GPU | Liger Kernel, TRL |
| fp16 without a GPU | PyTorch has no gradient scaling there | accelerate |
| more tokens or positions than the model has embeddings for | an index error in the middle of an epoch | |

Sources: https://huggingface.co/docs/peft/accelerate/fsdp, https://huggingface.co/docs/peft/accelerate/deepspeed,
https://huggingface.co/docs/bitsandbytes/fsdp_qlora.
"""

import importlib.util
import os
from typing import Any

from transformers import PreTrainedTokenizerBase
from trl import ModelConfig

from reward_model.errors import ModelError, one_line
from reward_model.model.backbone import check_positions
from reward_model.model.pretrained import load_config
from reward_model.train.settings.config import TieRewardConfig

# A tokenizer that knows no limit says 10^30.
_ABSURD_LENGTH = 1_000_000


def engine_of(config: TieRewardConfig) -> str:
    """`zero1`, `zero2`, `zero3`, `fsdp`, `ddp` or `single`, as the launcher set it."""
    plugin = config.deepspeed_plugin
    if plugin is not None:
        return f"zero{plugin.zero_stage}"
    if config.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true"):
        return "fsdp"
    return "ddp" if config.world_size > 1 else "single"


def check_settings(config: TieRewardConfig, arguments: ModelConfig, engine: str, *, gpu: bool) -> None:
    """Refuses what the module's table lists, as far as settings tell.

    Args:
        engine: as `engine_of` names it.
        gpu: training runs on an accelerator.

    Raises: ModelError, one line that says what to change.
    """
    quantised = "load_in_4bit" if arguments.load_in_4bit else "load_in_8bit" if arguments.load_in_8bit else None
    shards_weights = engine in ("zero3", "fsdp")
    if config.max_length and config.batch_tokens < 2 * config.max_length:
        raise ModelError(
            f"batch_tokens is {config.batch_tokens}, but a battle's two rows of max_length {config.max_length} are"
            f" {2 * config.max_length} tokens; raise batch_tokens or lower max_length"
        )
    evaluated = config.eval_batch_tokens
    if config.max_length and evaluated is not None and evaluated < 2 * config.max_length:
        raise ModelError(
            f"eval_batch_tokens is {evaluated}, but a battle's two rows of max_length {config.max_length} are"
            f" {2 * config.max_length} tokens; raise eval_batch_tokens or leave it out"
        )
    if engine == "fsdp" and not gpu:
        raise ModelError(
            "FSDP runs on GPUs only: accelerate would train a lone model on each CPU process; use DDP or ZeRO"
        )
    if config.fp16 and not gpu:
        raise ModelError("fp16 needs a GPU; use --fp16 false")
    _check_speedups(config, gpu=gpu)
    if config.adversarial_norm > 0 and shards_weights:
        raise ModelError(f"adversarial_norm needs whole weights, which {engine} shards; use DDP, ZeRO 1 or ZeRO 2")
    if quantised and not arguments.use_peft:
        raise ModelError(f"{quantised} leaves nothing to train but adapters; add --use_peft")
    if arguments.load_in_8bit and shards_weights:
        raise ModelError(f"8-bit weights cannot be sharded by {engine}; use --load_in_4bit, or DDP or ZeRO 2")
    if arguments.load_in_8bit and config.gradient_checkpointing:
        _check_eight_bits(config, engine)
    if arguments.load_in_4bit:
        _check_four_bits(config, arguments, engine)


def _check_speedups(config: TieRewardConfig, *, gpu: bool) -> None:
    if config.torch_compile:
        raise ModelError("torch_compile would compile again for every batch, whose shapes all differ; leave it out")
    for name in ("use_liger_kernel", "activation_offloading"):
        if getattr(config, name) and not gpu:
            raise ModelError(f"{name} needs a GPU; leave it out")
    if config.use_liger_kernel and importlib.util.find_spec("liger_kernel") is None:
        raise ModelError("use_liger_kernel needs liger-kernel, which is not installed: pip install liger-kernel")


def _check_eight_bits(config: TieRewardConfig, engine: str) -> None:
    """bitsandbytes 0.50 keeps a layer's input out of sight of what frees activations, but for reentrant checkpointing."""
    options: Any = config.gradient_checkpointing_kwargs or {}
    if not options.get("use_reentrant"):
        raise ModelError(
            "load_in_8bit keeps all activations unless checkpointing is reentrant; add"
            """ --gradient_checkpointing_kwargs '{"use_reentrant": true}' --ddp_find_unused_parameters false"""
        )
    if engine == "ddp" and config.ddp_find_unused_parameters is not False:
        raise ModelError("reentrant checkpointing under DDP needs --ddp_find_unused_parameters false")


def _check_four_bits(config: TieRewardConfig, arguments: ModelConfig, engine: str) -> None:
    wanted = "bfloat16" if config.bf16 else "float16" if config.fp16 else None
    if wanted is None:
        raise ModelError(
            "load_in_4bit computes in half precision; add --bf16 true --dtype bfloat16 (a T4: fp16, float16)"
        )
    if arguments.dtype != wanted:
        raise ModelError(f"load_in_4bit with {wanted} training and dtype {arguments.dtype}; add --dtype {wanted}")
    if engine == "fsdp" and arguments.bnb_4bit_quant_storage != wanted:
        raise ModelError(
            f"FSDP shards 4-bit weights only in the dtype of the rest; add --bnb_4bit_quant_storage {wanted}"
        )


def check_vocabulary(model: Any, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    """Refuses a tokenizer with more tokens, or rows with more positions, than the model has embeddings for.

    Raises: ModelError.
    """
    tokens = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > tokens:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens and the model embeddings for {tokens}; use its own"
        )
    check_positions(model, max_length)


def whole_max_length(tokenizer: PreTrainedTokenizerBase, arguments: ModelConfig) -> int:
    """The max_length of a run that gives none: as many tokens as the tokenizer allows, else as the model has positions.

    Raises: ModelError where neither says.
    """
    if tokenizer.model_max_length <= _ABSURD_LENGTH:
        return int(tokenizer.model_max_length)
    name = str(arguments.model_name_or_path)
    try:
        config = load_config(name, revision=arguments.model_revision).get_text_config()
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{name}: no configuration ({one_line(error)})") from error
    positions = getattr(config, "max_position_embeddings", None)
    if not positions or positions > _ABSURD_LENGTH:
        raise ModelError(f"{name}: neither tokenizer nor model says how many tokens it reads; give --max_length")
    return int(positions)


def tokenizer_note(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A line to show for a decoder that was not taught to chat: battles are then read as plain text."""
    if tokenizer.chat_template is None and tokenizer.cls_token is None:
        return "the tokenizer has no chat template: battles are read as plain text (an -it or -Instruct model has one)"
    return None
