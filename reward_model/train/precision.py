"""The score layer under DeepSpeed's half precision: saved in float32, whatever it is trained in.

Stages 1 and 2 leave it float32, since it has parameter groups of its own. Stage 3 puts all that is trained into one buffer
of one dtype, bf16 or fp16, with a float32 copy ("master") in the optimizer, sharded over the processes. That copy is what is
saved, so that no digit of the score layer is lost.

Source: https://deepspeed.readthedocs.io/en/latest/zero3.html#debugging (safe_get_full_fp32_param).
"""

from typing import Any

import torch
from torch import Tensor

from reward_model.model.score_layer import Float32Linear, find_score_layer, gathered


def to_one_dtype(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Casts what is trained and not yet partitioned; frozen and packed weights are left as they are."""
    for module in model.modules():
        if isinstance(module, Float32Linear):
            module.stays_float32 = dtype == torch.float32
    for parameter in model.parameters():
        if parameter.requires_grad and not hasattr(parameter, "ds_id"):
            parameter.data = parameter.data.to(dtype)


def keep_packing(model: torch.nn.Module) -> None:
    """Leaves 4-bit weights as they are packed: bitsandbytes 0.50 repacks them to evaluate on a CPU with AVX512-BF16, which
    has no backward pass, so that training after an evaluation would go on without a gradient, and cannot be done once
    ZeRO 3 has partitioned them.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def float32_score(model: Any) -> dict[str, Tensor]:
    """The active score layer's parameters, by their names in the model: whole, float32, on the CPU.

    Every process must call it: under ZeRO they are gathered.
    """
    layer = {id(parameter) for parameter in find_score_layer(model).parameters()}
    tensors = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in layer:
            with gathered([parameter]):
                value = parameter.detach().clone()
            if hasattr(parameter, "_z3_optimizer") or hasattr(parameter, "_hp_mapping"):
                from deepspeed.utils import safe_get_full_fp32_param  # slow to import, and absent where nobody shards

                master = safe_get_full_fp32_param(parameter)
                value = value if master is None else master.detach().reshape(value.shape)
            tensors[name] = value.float().cpu()
    return tensors
