"""Ray's side: a cluster to run on, the stream of parts through it, and an error of a worker as this process's own.

Ray Data moves the parts, starts killed workers again and holds the readers back when the models are slower. Nothing of
that is done here. Source: https://docs.ray.io/en/latest/data/batch_inference.html.
"""

import contextlib
import logging
import math
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena_data.errors import InputError
from reward_model.errors import ModelError, one_line
from reward_model.predict.cluster.battle_parts import read_parts
from reward_model.predict.cluster.partition_scorer import PartitionScorer
from reward_model.predict.cluster.work_plan import WorkPlan

LOCAL_STORE_BYTES = 1 << 30  # of parts on their way, of a cluster that is started here
ACTORS_A_READER = 4  # a reader gives more battles a second than four CPUs take, whatever the model
STARTS = 3  # of a local cluster: Ray 2.60 gives its parts 30 seconds, which a busy machine may not have
CALLS_OF_A_READER = 64  # files, after which a reading process ends and gives its memory back


@dataclass(frozen=True)
class Shares:
    """What a cluster gives to a prediction.

    Args:
        actors: how many hold the models; None for as many as the cluster has room for.
        num_cpus: CPUs of an actor.
        num_gpus: GPUs of an actor, may be a part of one; None for one where there are GPUs and `device` is not `cpu`.
        device: such as `cpu`; None for whichever there is.
    """

    actors: int | None = None
    num_cpus: float = 1.0
    num_gpus: float | None = None
    device: str | None = None


@contextlib.contextmanager
def ray_cluster(address: str | None, shares: Shares, variables: dict[str, str] | None = None) -> Iterator[Any]:
    """Ray's module, connected: to the cluster of an address, or to one that is started here and ends with the block.

    One that this process is connected to already is taken as it is. The local one has no dashboard, reports nothing to
    anyone, and listens on loopback only.

    Args:
        variables: of the environment of all workers.

    Raises: InputError for an address where no cluster answers.
    """
    # Read when Ray is imported: no reports to anyone, and no lines of its own between ours.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address is None:
        # Ray 2.60 takes 127.0.0.1 for the machine's outer address, but where it believes that clusters are not supported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = address is not None  # Ray may have been imported before, and have read it then

    if ray.is_initialized():
        yield ray
        return
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if variables:
        common["runtime_env"] = {"env_vars": variables}
    with contextlib.ExitStack() as stack:
        if address is not None:
            settings = common | {"address": address}
        else:
            # Ray's workers would give way to everything else on the machine; here they are as urgent as this process.
            os.environ.setdefault("RAY_worker_niceness", "0")
            settings = common | _local_settings(shares, stack.enter_context(_short_folder()))
        stack.callback(ray.shutdown)
        _connect(ray, settings, tries=1 if address else STARTS)
        yield ray


def _connect(ray: Any, settings: dict[str, Any], tries: int) -> None:
    """`ray.init`. Raises: InputError where no cluster answers, or none starts."""
    for left in reversed(range(tries)):
        try:
            with _own_signals(), _native_lines_hushed():
                ray.init(**settings)
            return
        except Exception as error:  # among them plain ones, such as of a start that took more than 30 seconds
            ray.shutdown()
            if not left:
                where = "this machine" if settings["address"] == "local" else settings["address"]
                raise InputError(f"no Ray cluster can be reached or started ({one_line(error)})", file=where) from error


def _local_settings(shares: Shares, logs: str) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    actors = shares.actors or max(1, int(cores / shares.num_cpus))
    return {
        "address": "local",
        # Readers wait most of their time; they share the cores with the models.
        "num_cpus": math.ceil(actors * shares.num_cpus) + readers_for(actors),
        "include_dashboard": False,
        "object_store_memory": LOCAL_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": logs,
    }


def _short_folder() -> "tempfile.TemporaryDirectory[str]":
    """For Ray's logs and sockets: the path of a socket has room for 107 characters, and Ray's own part takes 60."""
    short = Path("/", "tmp")
    is_long = len(tempfile.gettempdir()) > 30 and os.access(short, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="ray-", dir=short if is_long else None, ignore_cleanup_errors=True)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Puts SIGTERM's handler back, which `ray.init` replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _native_lines_hushed() -> Iterator[None]:
    """Without what Ray's C++ side writes to standard error while it starts: that its level of logging was set."""
    with open(os.devnull, "wb") as nowhere, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # standard error may be closed
            kept = os.dup(2)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 2)
            os.dup2(nowhere.fileno(), 2)
        yield


def readers_for(actors: int) -> int:
    """How many files are read at a time for so many actors."""
    return max(1, math.ceil(actors / ACTORS_A_READER))


def room(ray: Any, shares: Shares) -> tuple[int, float, int]:
    """Actors, GPUs of each, and readers that the cluster has room for.

    Raises: InputError for an actor that no cluster like this one could ever hold.
    """
    resources = ray.cluster_resources()
    cpus, gpus = float(resources.get("CPU", 0)), float(resources.get("GPU", 0))
    each = shares.num_gpus if shares.num_gpus is not None else float(gpus > 0 and shares.device != "cpu")
    if shares.actors is not None:
        return shares.actors, each, readers_for(shares.actors)
    # A reader takes a CPU; each actor brings its share of the readers along.
    by_cpus = int((cpus - 1) / shares.num_cpus)
    while by_cpus > 1 and by_cpus * shares.num_cpus + readers_for(by_cpus) > cpus:
        by_cpus -= 1
    actors = min(by_cpus, int(gpus / each)) if each else by_cpus
    if actors < 1:
        raise InputError(
            "the cluster has no room for a reader and a model",
            found=f"{cpus:g} CPUs and {gpus:g} GPUs",
            expected=f"{1 + shares.num_cpus:g} CPUs and {each:g} GPUs",
            fix="take a smaller --num_cpus or --num_gpus",
        )
    return actors, each, readers_for(actors)


def finished_parts(ray: Any, plan: WorkPlan, files: Sequence[int], shares: Shares) -> Iterator[dict[str, Any]]:
    """Scores files of the plan; yields rows of `RESULT_SCHEMA` as their partitions are written, in any order.

    Raises: InputError or ModelError, one line, for what a worker cannot read or score.
    """
    actors, gpus, readers = room(ray, shares)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    # A part goes on as soon as it is read, and by itself: otherwise Ray waits for 128 MiB of them.
    context.target_max_block_size = 1
    # Each part that is on its way is in memory.
    context.max_tasks_in_flight_per_actor = 2
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    numbers = [{"file": file} for file in files]
    actor: dict[str, Any] = {"num_cpus": shares.num_cpus} | ({"num_gpus": gpus} if gpus else {})
    stream = (
        ray.data.from_items(numbers, override_num_blocks=len(numbers))
        .map_batches(
            read_parts,
            batch_size=1,
            batch_format="pyarrow",
            fn_kwargs={"plan": plan},
            num_cpus=1,
            # Unlike an actor's arguments, so that Ray never makes one step of both: a model would wait for its reader.
            max_calls=CALLS_OF_A_READER,
            compute=ray.data.TaskPoolStrategy(size=readers),
        )
        .map_batches(
            PartitionScorer,
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_kwargs={"plan": plan, "cores": max(1, int(shares.num_cpus))},
            compute=ray.data.ActorPoolStrategy(size=actors),
            **actor,
        )
    )
    try:
        yield from stream.iter_rows()
    except Exception as error:
        raise own_error(error) from error


def own_error(error: BaseException) -> Exception:
    """The error that a worker raised, or what Ray says of it, in one line."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or one in seen:
            continue
        seen.append(one)
        waiting += [one.__cause__, one.__context__, getattr(one, "cause", None)]
        if isinstance(one, Exception) and type(one).__module__.partition(".")[0] in ("arena_data", "reward_model"):
            one.args = (*getattr(one, "__notes__", ()), str(one))[:1]
            return one
    last = seen[-1]
    return ModelError(f"Ray could not go on ({type(last).__name__}: {one_line(last)})")
