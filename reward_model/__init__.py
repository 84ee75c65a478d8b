"""Battles in, calibrated probabilities of A, B and tie out: links, model, batching, trainer, calibration, blending."""

import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward_model.api import Probabilities, RewardModel
    from reward_model.evaluate_battles import Evaluation, evaluate
    from reward_model.report.leaderboard import leaderboard

__all__ = ["Evaluation", "Probabilities", "RewardModel", "evaluate", "leaderboard"]
_HOMES = {
    **dict.fromkeys(("Probabilities", "RewardModel"), "reward_model.api"),
    **dict.fromkeys(("Evaluation", "evaluate"), "reward_model.evaluate_battles"),
    "leaderboard": "reward_model.report.leaderboard",
}
__version__ = "0.2.0"

# bitsandbytes 0.50 tells everybody on a CPU with AVX512-BF16, when it is imported, that an optional package is missing.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
    lambda record: not record.getMessage().startswith("Failed to load CPU gemm_4bit_forward")
)
# It also says at every 8-bit layer of every batch that it computes in float16.
logging.getLogger("bitsandbytes.autograd._functions").addFilter(
    lambda record: "inputs will be cast" not in record.getMessage()
)

# Batches are of all lengths, and a GPU's memory would be cut into blocks that fit none of those to come. PyTorch reads this
# when it first allocates: https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage.
if "PYTORCH_ALLOC_CONF" not in os.environ:  # its name since PyTorch 2.9; older ones read the other
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # seconds to import these, and help does without them

    return getattr(importlib.import_module(_HOMES[name]), name)
