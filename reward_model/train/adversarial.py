"""Adversarial weight perturbation (Wu, Xia, Wang 2020, https://arxiv.org/abs/2004.05884, eq. 10), as it was meant.

The gradient is taken at the weights moved in the direction that raises the loss most, within a norm relative to each
parameter's own: v = norm * |w| * g / |g|. The step is then made from the weights as they were. (Public notebooks add the
perturbation and never take it back.)
"""

import contextlib
import re
from collections.abc import Callable, Iterator

import torch


@contextlib.contextmanager
def perturbed(model: torch.nn.Module, loss: Callable[[], torch.Tensor], *, norm: float, names: str) -> Iterator[None]:
    """Inside, the chosen weights are at their worst within the norm; afterwards they are bit for bit what they were.

    Args:
        model: the model without its distributed wrapper.
        loss: the loss at the current weights, for the direction.
        norm: relative norm of the perturbation of each parameter.
        names: regular expression; parameters whose names it finds and that are trained are moved.

    Raises: ValueError where no trained parameter matches, or a matching one is sharded.
    """
    chosen = [p for name, p in model.named_parameters() if p.requires_grad and re.search(names, name)]
    if not chosen:
        raise ValueError(f"adversarial_parameters {names!r} matches no trained parameter")
    if any(p.numel() == 0 for p in chosen):
        raise ValueError("adversarial weight perturbation needs whole parameters: not under ZeRO 3 or FSDP")
    gradients = torch.autograd.grad(loss(), chosen, allow_unused=True)
    kept = [p.detach().clone() for p in chosen]
    try:
        with torch.no_grad():
            for parameter, gradient in zip(chosen, gradients, strict=True):
                size = gradient.norm() if gradient is not None else None
                if size is not None and size > 0 and torch.isfinite(size):
                    parameter.add_(gradient, alpha=float(norm * parameter.norm() / size))
        yield
    finally:
        with torch.no_grad():
            for parameter, before in zip(chosen, kept, strict=True):
                parameter.copy_(before)
