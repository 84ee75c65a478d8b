"""All devices at once: one process a GPU (or so many on CPU), each with its share of the shards.

Processes talk through finished shards on disk only. Started by `predict.py` itself, or by `accelerate launch`, which sets
RANK and WORLD_SIZE (then all machines must see the folder of the output). The main process joins what the others wrote,
and does itself what one that died has left.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any


@dataclass(frozen=True)
class Team:
    """This process among `size`; `helpers` are those it started."""

    rank: int = 0
    size: int = 1
    helpers: list[BaseProcess] = field(default_factory=list)
    launched: bool = False

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, shards: int) -> range:
        """The numbers of this process's shards."""
        return range(self.rank, shards, self.size)

    def others_work(self) -> bool:
        """Whether other processes may still finish shards; a launcher ends all processes when one fails."""
        return self.launched or any(helper.is_alive() for helper in self.helpers)


def processes_wanted(num_processes: int | None) -> int:
    """As asked, or one for each visible GPU, or one."""
    if num_processes is not None:
        return max(1, num_processes)
    import torch

    return max(1, torch.cuda.device_count())


@contextmanager
def team_of(num_processes: int | None, work: Callable[..., Any], *arguments: Any) -> Iterator[Team]:
    """This process's team; starts `work(team, *arguments)` in the others where no launcher has.

    `work` must be a function of a module, for a fresh interpreter finds it by name.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        yield Team(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), launched=True)
        return
    size = processes_wanted(num_processes)
    # Forked processes could not use a GPU.
    context = multiprocessing.get_context("spawn")
    helpers: list[BaseProcess] = [
        context.Process(target=work, args=(Team(rank, size), *arguments), daemon=True) for rank in range(1, size)
    ]
    for helper in helpers:
        helper.start()
    try:
        yield Team(0, size, helpers)
        for helper in helpers:
            helper.join()
    finally:
        for helper in helpers:
            if helper.is_alive():
                helper.terminate()


def device_of(team: Team) -> str | None:
    """The GPU of this process; None without one, or with one process."""
    import torch

    if team.size == 1 or not torch.cuda.is_available():
        return None
    local = int(os.environ.get("LOCAL_RANK", team.rank))
    return f"cuda:{local % torch.cuda.device_count()}"


def share_cores(team: Team) -> None:
    """Divides the cores among processes on CPU; together they would otherwise take each core several times."""
    import torch

    if team.size > 1 and not torch.cuda.is_available() and "OMP_NUM_THREADS" not in os.environ:
        here = team.size if not team.launched else int(os.environ.get("LOCAL_WORLD_SIZE", team.size))
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // here))
