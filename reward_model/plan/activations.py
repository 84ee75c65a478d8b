"""Bytes that are alive at once in forward and backward, counted on fake tensors: shapes and lifetimes, but no memory.

What a GPU would do otherwise than the CPU it is counted on is done likewise: CUDA's rules of autocast, and the inputs that
8-bit layers keep.

Source: https://pytorch.org/docs/stable/torch.compiler_fake_tensor.html.
"""

import contextlib
import weakref
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reward_model.model.score_layer import score_inputs


class _LiveBytes(TorchDispatchMode):
    """Adds up the storages that operations make, for as long as they live."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.now, self.peak, self.seen = 0, 0, known

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.seen:
                    self.seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return made

    def _gone(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


class _EightBits(torch.autograd.Function):
    """Keeps what bitsandbytes 0.50's MatMul8bitLt keeps: its input, on the context, where checkpointing cannot free it."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.kept, ctx.weight = hidden, weight
        return functional.linear(hidden, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0].to(ctx.weight.dtype) @ ctx.weight, None


class _EightBitLinear(nn.Linear):
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = _EightBits.apply(hidden, self.weight)
        return product if self.bias is None else product + self.bias


def keep_inputs(model: nn.Module, quantised: Collection[str]) -> None:
    """Makes the linear layers of these names keep their inputs as 8-bit ones do."""
    for name, module in model.named_modules():
        if name in quantised and type(module) is nn.Linear:
            module.__class__ = _EightBitLinear


@contextlib.contextmanager
def _cuda_autocast() -> Iterator[None]:
    """CUDA's autocast computes these in float32; a CPU's, which is what can be counted with here, does not.

    A mode would not reach what checkpointing computes again.
    Source: https://docs.pytorch.org/docs/stable/amp.html#cuda-ops-that-can-autocast-to-float32.
    """
    stock = [(place, name, getattr(place, name)) for place in (torch, functional) for name in ("softmax", "layer_norm")]

    def in_float32(function: Any) -> Any:
        return lambda first, *others, **options: function(first.float(), *others, **options)

    try:
        for place, name, function in stock:
            setattr(place, name, in_float32(function))
        yield
    finally:
        for place, name, function in stock:
            setattr(place, name, function)


def peak_bytes(
    model: Any,
    rows: int,
    length: int,
    checkpointing: bool,
    autocast: bool,
    accumulation: bool,
    *,
    reentrant: bool = False,
    gpu: bool = True,
) -> float:
    """Bytes alive at most in forward and backward, gradients included, beside the weights."""
    with FakeTensorMode():
        for module in model.modules():
            for name, old in module._parameters.items():
                if old is not None:
                    new = nn.Parameter(torch.empty(old.shape, dtype=old.dtype), requires_grad=old.requires_grad)
                    module._parameters[name] = new
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
        model.train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": reentrant})
            if hasattr(model, "peft_config"):
                model.enable_input_require_grads()
        live = _LiveBytes({parameter.untyped_storage()._cdata for parameter in model.parameters()})
        trained_whole = all(parameter.requires_grad for parameter in model.parameters())
        caches = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
        rules = _cuda_autocast() if autocast and gpu else contextlib.nullcontext()
        with live, rules:
            for _ in range(2 if accumulation and trained_whole else 1):
                live.peak = live.now
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    ids = torch.zeros((rows, length), dtype=torch.int64)
                    with score_inputs(model, positions=torch.zeros(rows, dtype=torch.int64)):
                        scores = model(input_ids=ids, attention_mask=torch.ones_like(ids), **caches).logits
                scores.sum().backward()
        return float(live.peak)
