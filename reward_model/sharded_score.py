"""The score layer under DeepSpeed: trained in half precision beside a float32 copy, saved in float32.

DeepSpeed's bf16 and fp16 modes hold every trained parameter in that dtype and a float32 copy ("master") of it in the
optimizer, sharded over the processes. Stages 1 and 2 cast by themselves; stage 3 wants one dtype from the start. What is
saved is the float32 copy, so that no digit of the score layer is lost.

Source: https://deepspeed.readthedocs.io/en/latest/zero3.html#debugging (safe_get_full_fp32_param).
"""

from typing import Any

import torch
from torch import Tensor

from reward_model.score import find, whole


def to_one_dtype(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Casts what is trained and not yet partitioned; frozen and packed weights are left as they are."""
    for parameter in model.parameters():
        if parameter.requires_grad and not hasattr(parameter, "ds_id"):
            parameter.data = parameter.data.to(dtype)


def float32_score(model: Any) -> dict[str, Tensor]:
    """The active score layer's parameters, by their names in the model: whole, float32, on the CPU.

    Every process must call it: under ZeRO they are gathered.
    """
    layer = {id(parameter) for parameter in find(model).parameters()}
    found = {}
    for name, parameter in model.named_parameters():
        if id(parameter) in layer:
            with whole([parameter]):
                value = parameter.detach().clone()
            if hasattr(parameter, "_z3_optimizer") or hasattr(parameter, "_hp_mapping"):
                from deepspeed.utils import safe_get_full_fp32_param  # slow to import, and absent where nobody shards

                master = safe_get_full_fp32_param(parameter)
                value = value if master is None else master.detach().reshape(value.shape)
            found[name] = value.float().cpu()
    return found
