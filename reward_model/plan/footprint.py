"""What a backbone costs in training, counted rather than guessed: parameters, bytes, activations, FLOPs.

Parameters are counted on the meta device, with the score layer and LoRA put in by the code that training uses.
Activations are counted by running forward and backward on fake tensors, which have shapes and lifetimes but no memory,
and adding up the storages that are alive at once, temporaries included. With LoRA two shallow models of 2 and 4 layers
are enough: every layer costs the same, so the rest is a straight line. (Without, the gradient of the embeddings may be
what the peak is made of, and the line has a kink.)

FLOPs a token, N the parameters of linear layers (embeddings are looked up, not multiplied), A their LoRA's, L layers of
attention width d over rows of T tokens:

    forward        2 (N + A) + 4 L d T                   a multiplication and an addition a parameter; QKᵀ and PV
    backward       the same through activations, attention twice that, and 2 a parameter that is trained
    checkpointing  one forward more

so about 6 N for full fine-tuning, 8 N with checkpointing, 4 N for LoRA, 6 N with checkpointing.

Sources: https://pytorch.org/docs/stable/torch.compiler_fake_tensor.html; Kaplan et al. 2020 (arXiv:2001.08361, section
2.1); Dettmers et al. 2023 (QLoRA, arXiv:2305.14314, section 3, double quantisation).
"""

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from peft import get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification, PretrainedConfig
from trl import ModelConfig
from trl.trainer.utils import disable_dropout_in_model

from reward_model.model.backbone import dtype_named
from reward_model.model.quantised import (
    INT8,
    NF4,
    NF4_DOUBLE,
    check_trains,
    packed_bytes,
    quantisation_method,
)
from reward_model.model.score_layer import TieAwareScore, install_score_layer
from reward_model.plan.activations import keep_inputs, peak_bytes
from reward_model.quiet import quiet_transformers
from reward_model.train.build_model import lora_config

_STYLE_FEATURES = 10  # any number: a handful of parameters
_SHALLOW = (2, 4)


@dataclass(frozen=True)
class Footprint:
    """Counts of parameters, bytes of one whole copy on one device, and FLOPs.

    Args:
        embedding, matrix, other: parameters of the backbone: looked up, multiplied, and norms and biases.
        adapter: LoRA's parameters; 0 without LoRA.
        trained: parameters that are trained, adapters and score layer included.
        largest_layer: parameters of the largest layer, which sharding gathers whole.
        frozen_bytes, trained_bytes: of the weights as they lie in memory.
        gradient_bytes: of gradients that stay between the backward passes of one step.
        activation_bytes: the most that is alive in forward and backward on one batch, beside weights and gradients.
        attention_width: heads times their size, of one layer.
        layers: how many.
        checkpointing: activations are computed again in the backward pass.
    """

    embedding: int
    matrix: int
    other: int
    adapter: int
    trained: int
    largest_layer: int
    frozen_bytes: float
    trained_bytes: float
    gradient_bytes: float
    activation_bytes: float
    attention_width: int
    layers: int
    checkpointing: bool

    @property
    def parameters(self) -> int:
        return self.embedding + self.matrix + self.other

    def flops_per_token(self, row_tokens: float, *, training: bool = True) -> float:
        """FLOPs of a token in rows of `row_tokens` tokens, in training or in a forward pass alone."""
        attention = 4 * self.layers * self.attention_width * row_tokens
        linear = 2 * (self.matrix + self.adapter)
        if not training:
            return linear + attention
        weights = 2 * (self.adapter or self.matrix)
        again = linear + attention if self.checkpointing else 0
        return (linear + attention) + (linear + 2 * attention + weights) + again


def footprint(
    config: PretrainedConfig,
    arguments: ModelConfig,
    *,
    batch_tokens: int,
    max_length: int,
    checkpointing: bool,
    autocast: bool,
    accumulation: bool,
    dropout: bool = False,
    reentrant: bool = False,
    gpu: bool = True,
) -> Footprint:
    """Counts for one device that reads `batch_tokens` at once.

    Args:
        config: the backbone's.
        arguments: LoRA, quantisation, dtype and attention, as in training.
        batch_tokens, max_length: tokens; a batch is at least two rows of max_length.
        checkpointing: gradient checkpointing.
        autocast: bf16 or fp16 mixed precision.
        accumulation: several batches a step, so that gradients are there while the next batch is read.
        dropout: whether it is left on; attention with dropout keeps the scores of all pairs of tokens on a CPU.
        reentrant: the older kind of checkpointing, which alone frees what 8-bit layers keep.
        gpu: with autocast's rules for CUDA in the place of those for a CPU.
    """
    rows = max(2, batch_tokens // max_length)
    layers = config.num_hidden_layers

    def peak(depth: int) -> float:
        made = _meta_model(_with_layers(config, depth), arguments)
        if not dropout:
            disable_dropout_in_model(made)
        if arguments.load_in_8bit:
            keep_inputs(made, {name.removesuffix(".weight") for name in _quantised(made, arguments)})
        return peak_bytes(made, rows, max_length, checkpointing, autocast, accumulation, reentrant=reentrant, gpu=gpu)

    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT 0.21 asks Transformers by an old name
        model = _meta_model(config, arguments)
        check_trains(model, str(arguments.model_name_or_path), adapters=bool(arguments.use_peft))
        trained_bytes = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        if arguments.use_peft:
            fewer, more = (peak(shallow) for shallow in _SHALLOW)
            activations = fewer + (more - fewer) * (layers - _SHALLOW[0]) / (_SHALLOW[1] - _SHALLOW[0])
        else:
            activations = max(0.0, peak(layers) - trained_bytes)

    quantised_weights = _quantised(model, arguments)
    if quantised_weights:  # one layer's weights are unpacked at a time
        activations += 2 * max(weight.numel() for weight in quantised_weights.values())
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    frozen_bytes = sum(
        _quantised_bytes(parameter, config, arguments)
        if name in quantised_weights
        else parameter.numel() * parameter.element_size()
        for name, parameter in frozen.items()
    )
    adapter = sum(parameter.numel() for name, parameter in trained.items() if "lora_" in name)
    embedding = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding))
    matrix = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "lora_" not in name and not isinstance(module, TieAwareScore)
    )
    everything = sum(parameter.numel() for parameter in model.parameters())
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return Footprint(
        embedding=embedding,
        matrix=matrix,
        other=everything - embedding - matrix - adapter,
        adapter=adapter,
        trained=sum(parameter.numel() for parameter in trained.values()),
        largest_layer=max(embedding, (matrix + adapter) // layers),
        frozen_bytes=frozen_bytes,
        trained_bytes=trained_bytes,
        gradient_bytes=trained_bytes,
        activation_bytes=activations,
        attention_width=width,
        layers=layers,
        checkpointing=checkpointing,
    )


def _with_layers(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    shallow = copy.deepcopy(config)
    if getattr(config, "layer_types", None):
        shallow.layer_types = (config.layer_types * layers)[:layers]  # a model may have fewer layers than are counted
    shallow.num_hidden_layers = layers
    return shallow


def _meta_model(config: PretrainedConfig, arguments: ModelConfig) -> Any:
    """The model of `reward_model.train.build_model.load_model` without weights; quantised layers stand in the dtype
    they compute in."""
    quantised = arguments.load_in_4bit or arguments.load_in_8bit
    named = arguments.dtype not in (None, "auto")
    dtype = dtype_named(str(arguments.dtype)) if named else torch.bfloat16 if quantised else torch.float32
    attention = arguments.attn_implementation
    options: dict[str, Any] = {"attn_implementation": attention} if attention in ("eager", "sdpa") else {}
    with torch.device("meta"):
        model: Any = AutoModelForSequenceClassification.from_config(
            config, dtype=dtype, trust_remote_code=False, **options
        )
        model.config.pad_token_id = model.config.get_text_config().pad_token_id = 0  # stock pooling wants one
        install_score_layer(model, style_features=_STYLE_FEATURES, tie_bias=0.0)
        peft_config = lora_config(arguments, model)
        if peft_config is not None:
            model = get_peft_model(model, peft_config)
            if quantised and dtype != torch.float16:  # as TRL 1.16 casts them; float32 in fp16 training
                for name, parameter in model.named_parameters():
                    if "lora_" in name:
                        parameter.data = parameter.data.to(torch.bfloat16)
    return model


def _quantised(model: Any, arguments: ModelConfig) -> dict[str, nn.Parameter]:
    """The weights that are packed, by bitsandbytes or in the checkpoint: of all linear layers outside head and adapters."""
    if not (arguments.load_in_4bit or arguments.load_in_8bit or quantisation_method(model.config)):
        return {}
    frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return {name: parameter for name, parameter in frozen.items() if name in linear and "original_module" not in name}


def _quantised_bytes(weight: nn.Parameter, config: PretrainedConfig, arguments: ModelConfig) -> float:
    outputs, inputs = weight.shape
    packed = packed_bytes(config, inputs, outputs)
    if packed is not None:
        return packed
    each = INT8 if arguments.load_in_8bit else NF4_DOUBLE if arguments.use_bnb_nested_quant else NF4
    return each * weight.numel()
