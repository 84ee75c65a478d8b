"""Linear layers of a model that only scores, on a CPU: weights laid out once as oneDNN's products want them.

PyTorch 2.13 hands float32 products to MKL, which leaves a CPU that is not Intel's at half its speed, and lays bfloat16
weights out anew in every call. TorchInductor does what is done here when it freezes a model for inference; taking its two
operators alone needs no compilation (docs/LOG.md).

Source: https://docs.pytorch.org/tutorials/prototype/inductor_windows.html and torch/_inductor/fx_passes/mkldnn_fusion.py.
"""

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers.activations import GELUActivation

# Rows of an input that a layout is chosen for; others are computed as rightly.
ROWS = 4096
# oneDNN and PyTorch's layer over it keep what they made for each number of rows, a megabyte each, 1024 of each kind. Packs
# hardly ever have as many tokens as another one; within a pack a layer's products need few. Read when oneDNN is first used.
KEPT_PRODUCTS = "64"
for _variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_variable, KEPT_PRODUCTS)


class PackedLinear(nn.Module):
    """`nn.Linear` for inference: the same numbers up to rounding. `weight` only tells shape and dtype.

    Args:
        linear: the layer whose place this one takes.
        activation: what is applied to each output before it is written, `none` or `gelu`.
    """

    def __init__(self, linear: nn.Linear, activation: str = "none"):
        super().__init__()
        self.activation = activation
        weight = linear.weight.detach()
        self.weight = weight.to("meta")
        self.bias = None if linear.bias is None else linear.bias.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS)

    def forward(self, hidden: Tensor) -> Tensor:
        """float [..., in_features] -> [..., out_features]."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(
            hidden, self._packed, self.bias, self.activation, [], "none"
        )
        return outputs


@torch.no_grad()
def pack_linear_layers(model: Any) -> int:
    """Replaces the linear layers of a model on the CPU, in float32 or bfloat16; returns how many.

    Adapters' own small layers, quantised layers and the score layer stay as they are, and so does a layer that would
    not give the same numbers, or whose weights its adapter reads: DoRA measures them.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    read = {f"{name}.base_layer" for name, module in model.named_modules() if getattr(module, "lora_variant", None)}
    plain = [
        (name, layer)
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and "lora_" not in name and name not in read
    ]
    packed = 0
    for name, layer in plain:
        if layer.weight.device.type != "cpu" or layer.weight.dtype not in (torch.float32, torch.bfloat16):
            continue
        new = PackedLinear(layer)
        if _agree(layer, new):
            model.set_submodule(name, new)
            packed += 1
    for module in model.modules():
        dense, activation = (getattr(module, part, None) for part in ("dense", "intermediate_act_fn"))
        # BERT and its like keep the two side by side: written once, the wide state need not be read and written again.
        if isinstance(dense, PackedLinear) and isinstance(activation, GELUActivation) and activation.act is gelu:
            dense.activation, module.intermediate_act_fn = "gelu", nn.Identity()
    return packed


def _agree(layer: nn.Linear, new: PackedLinear) -> bool:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, layer.in_features, generator=generator).to(layer.weight.dtype)
    allowed = 1e-4 if hidden.dtype == torch.float32 else 0.05
    try:
        return bool(torch.allclose(new(hidden), layer(hidden), rtol=allowed, atol=allowed))
    except RuntimeError:
        return False
