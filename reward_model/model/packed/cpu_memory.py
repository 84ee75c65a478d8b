"""Keeps the memory that a CPU's tensors give back, instead of asking the system for it anew.

glibc maps each block over its threshold (128 KiB at first, never above 32 MiB by itself) by itself and unmaps it when it is
freed, so every large temporary of a model's forward pass is made of pages that the kernel has to clear first: attention of
a few hundred tokens takes more than twice as long (docs/LOG.md). jemalloc and tcmalloc, which PyTorch's tuning guide advises
to preload, keep such memory; glibc does if it is told to, which needs nothing installed.

Sources: https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html, mallopt(3).
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_MAPPED_FROM = 1 << 30
_KEPT = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Tells glibc, for the whole process; returns whether it did. Nothing happens on other systems."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, _MAPPED_FROM) and mallopt(_TRIM_THRESHOLD, _KEPT))
