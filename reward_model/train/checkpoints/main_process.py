"""A decision that one process takes for all: what it reads from the disk may have changed before the others read it."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Decision = TypeVar("Decision")


def on_main_process(decide: Callable[[], Decision]) -> Decision:
    """What the first process decides, on every process. Raises: on every process, what it raises there."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    outcome: list[Any] = [None, None]
    if not distributed or torch.distributed.get_rank() == 0:
        try:
            outcome[0] = decide()
        except Exception as error:  # raised below, on all alike
            outcome[1] = error
    if distributed:
        torch.distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    decision: Decision = outcome[0]
    return decision
