"""The device that is measured: its clock, its memory, and the FLOPs a second that it can reach.

Times are of synchronised calls. On a CPU everything runs as well, to test the logic; its figures mean nothing.
"""

import contextlib
import gc
import importlib.metadata
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from reward_model.plan.plan import PEAK_TFLOPS

GIB = 2**30
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "deepspeed", "triton")
# As PyTorch names them; the planner knows their peak by its own names.
KINDS = {"T4": "t4", "L4": "l4", "3090": "rtx3090", "4090": "rtx4090", "A100": "a100", "H100": "h100", "H200": "h100"}


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def forget_peak() -> None:
    """Gives cached memory back, and counts the peak from here on."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float | None:
    """The most that tensors have held since `forget_peak`; None on a CPU."""
    return torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else None


def allocated_gib() -> float:
    return torch.cuda.memory_allocated() / GIB if torch.cuda.is_available() else 0.0


def seconds(work: Callable[[], Any], repeats: int = 3) -> tuple[float, float]:
    """Seconds of the first call, and the median of those after it."""
    times = []
    for _ in range(repeats + 1):
        synchronise()
        start = time.perf_counter()
        work()
        synchronise()
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def matmul_tflops(device: torch.device, size: int) -> float:
    """What a bfloat16 product of this size reaches: the most that any kernel here can."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, repeats=5)[1] / 1e12


def peak_tflops(device: torch.device) -> float | None:
    """Of the data sheet, for a kind that the planner knows."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((PEAK_TFLOPS[kind] for part, kind in KINDS.items() if part in name), None)


def environment(device: torch.device) -> dict[str, Any]:
    """The device and the versions of what computes on it."""
    found: dict[str, Any] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    if device.type != "cuda":
        return {"device": device.type, **found}
    properties = torch.cuda.get_device_properties(device)
    about = {"device": properties.name, "capability": f"{properties.major}.{properties.minor}"}
    return {**about, "gib": properties.total_memory / GIB, **found}


@contextlib.contextmanager
def as_capability(major: int, minor: int) -> Iterator[None]:
    """Inside the block PyTorch says that the GPU is of this compute capability, and the project computes as on one."""
    from reward_model.model.packed import piece_attention

    stock = torch.cuda.get_device_capability
    torch.cuda.get_device_capability = lambda device=None: (major, minor)
    piece_attention._knows_groups.cache_clear()
    try:
        yield
    finally:
        torch.cuda.get_device_capability = stock
        piece_attention._knows_groups.cache_clear()
