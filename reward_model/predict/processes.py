"""All devices at once: one process a GPU (or so many on CPU), each with its share of the shards.

Processes talk through finished shards on disk only. Started by `predict.py` itself, or by `accelerate launch` or `torchrun`,
which set RANK, WORLD_SIZE and LOCAL_RANK (then all machines must see the folder of the output). The main process joins what
the others wrote, and takes over what they have not finished.

Source: torchrun's environment, https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from arena_data.errors import InputError

_LAUNCHERS_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True)
class Team:
    """This process among `size`; `launched` by a launcher, or else by the first of them."""

    rank: int = 0
    size: int = 1
    launched: bool = False

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def share(self, shards: int) -> range:
        """The numbers of this process's shards."""
        return range(self.rank, shards, self.size)


def launched_team() -> Team | None:
    """The team that a launcher has started; None without one.

    RANK and WORLD_SIZE alone are left over from something else: every launcher sets LOCAL_RANK too.

    Raises: InputError for numbers that are none.
    """
    given = [os.environ.get(name, "") for name in _LAUNCHERS_VARIABLES]
    if not all(given):
        return None
    if not all(number.isdecimal() for number in given) or int(given[0]) >= int(given[1]):
        raise InputError(
            "the launcher's environment makes no sense",
            found=dict(zip(_LAUNCHERS_VARIABLES, given, strict=True)),
            expected="RANK from 0 to WORLD_SIZE - 1",
            fix="unset these variables, or use accelerate launch",
        )
    return Team(int(given[0]), int(given[1]), launched=True)


def processes_wanted(num_processes: int | None, device: str | None) -> int:
    """As asked; one where a device is named; or one for each visible GPU, at least one."""
    if num_processes is not None:
        return num_processes
    if device is not None:
        return 1
    import torch

    return max(1, torch.cuda.device_count())


@contextlib.contextmanager
def team_of(size: int, work: Callable[..., Any], *arguments: Any) -> Iterator[Team]:
    """This process's team; starts `work(team, *arguments)` in the other processes where no launcher has.

    `work` must be a function of a module, for a fresh interpreter finds it by name. At the end processes that are still at
    work are killed: all they could still do is done.
    """
    if (team := launched_team()) is not None:
        yield team
        return
    # Forked processes could not use a GPU.
    context = multiprocessing.get_context("spawn")
    helpers: list[BaseProcess] = [
        context.Process(target=work, args=(Team(rank, size), *arguments), daemon=True) for rank in range(1, size)
    ]
    try:
        with _without_interrupts():
            for helper in helpers:
                helper.start()
        yield Team(0, size)
    finally:
        # One that is stopped would not heed a milder signal.
        for helper in helpers:
            if helper.is_alive():
                helper.kill()
                helper.join(1)


def end_with_parent() -> None:
    """Ends this process when the one that started it ends, however that one ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which a terminal sends to all; the one that started them ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def device_of(team: Team, device: str | None) -> str | None:
    """Where this process computes: the named device; or a GPU of its own, one of several; None for the first there is."""
    import torch

    if team.size == 1 or device not in (None, "cuda") or not torch.cuda.is_available():
        return device
    local = int(os.environ["LOCAL_RANK"]) if team.launched else team.rank
    return f"cuda:{local % torch.cuda.device_count()}"


def share_cores(team: Team, device: str | None) -> None:
    """Divides the cores among processes on CPU; together they would otherwise take each core several times."""
    import torch

    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if team.size > 1 and on_cpu and "OMP_NUM_THREADS" not in os.environ:
        here = team.size if not team.launched else int(os.environ.get("LOCAL_WORLD_SIZE", team.size))
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // here))
