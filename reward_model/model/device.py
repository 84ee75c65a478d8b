"""Which device computes. Asked here alone, so that a machine without a working GPU answers alike everywhere.

A CUDA build of PyTorch names `cuda` as its accelerator on any machine; only `check_available` asks the driver.

Source: https://docs.pytorch.org/docs/stable/generated/torch.accelerator.current_accelerator.html.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from reward_model.errors import ModelError


def default_device() -> torch.device:
    """The accelerator of this machine where one can be used, or the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def named_device(name: str | None) -> torch.device:
    """The device of that name, such as `cpu` or `cuda:1`; `default_device` for None.

    Raises: ModelError for a name that PyTorch does not know, and for a device that this machine does not have.
    """
    if not name:
        return default_device()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r} is unknown; expected cpu, or a name such as cuda or cuda:1") from error
    if device.type == "cpu":
        return torch.device("cpu")
    accelerator = default_device()
    count = torch.accelerator.device_count() if accelerator.type != "cpu" else 0
    if device.type != accelerator.type or (device.index or 0) >= count:
        present = [f"{accelerator.type}:{index}" for index in range(count)]
        raise ModelError(f"device {name!r} is not on this machine; expected one of {', '.join(['cpu', *present])}")
    return device


def compute_on(device: torch.device) -> None:
    """Makes a GPU the current one of this process, before anything is put on it; does nothing for a CPU.

    Otherwise what names no GPU goes to the first, and each process beside the first would hold a context there. From
    compute capability 9 on PyTorch prefers cuDNN's attention, which plans a kernel for each new shape, tens of
    milliseconds a plan; texts hardly ever have the same length twice.

    Sources: https://docs.pytorch.org/docs/stable/generated/torch.cuda.set_device.html,
    https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/transformers/cuda/sdp_utils.cpp (the order of
    kernels), https://docs.nvidia.com/deeplearning/cudnn/frontend/latest/operations/Attention.html (a plan a shape).
    """
    if device.type == "cuda":
        if device.index is not None:  # `cuda` is the current one, and PyTorch 2.13 refuses it here
            torch.cuda.set_device(device)
        if torch.cuda.get_device_capability(device)[0] >= 9:
            torch.backends.cuda.enable_cudnn_sdp(False)


def check_several_gpus() -> None:
    """Raises: ModelError on a machine that cannot spread a model over GPUs, since it has fewer than two."""
    count = torch.cuda.device_count()
    if count < 2:
        raise ModelError(f"device_map spreads a model over several GPUs, and this machine has {count}; leave it out")


def check_on_gpus(model: Any) -> None:
    """Raises: ModelError where accelerate has put parts of the model off the GPUs, from where each batch would load them."""
    parts = model.hf_device_map
    off = sorted(name for name, device in parts.items() if str(device) in ("cpu", "disk"))
    if off:
        raise ModelError(
            f"the GPUs cannot hold the model: {len(off)} of {len(parts)} parts are left over; add --load_in_4bit"
        )


class Lanes:
    """Streams in which batches of a model that is spread over several GPUs run beside each other.

    A batch goes through the GPUs in turn. One stream a GPU would let only one GPU work at a time: every copy between GPUs
    makes both streams wait for each other, and models copy small tensors back and forth all the way. So batches take turns
    in as many lanes as there are GPUs, each with its own stream on every GPU. While one batch is on the second GPU, the
    next is on the first. Nothing here waits for a GPU.

    Args:
        devices: the model's GPUs. On fewer than two there are no lanes.

    Source: https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/cuda/Copy.cu, "two-way barrier".
    """

    def __init__(self, devices: Sequence[torch.device]):
        self.devices = list(devices)
        self.count = max(1, len(self.devices))
        self._streams: list[list[torch.cuda.Stream]] = []
        if self.count > 1:
            self._streams = [[torch.cuda.Stream(device) for device in self.devices] for _ in self.devices]
            self.wait()  # the weights were loaded in other streams
        self._turn = 0

    @contextlib.contextmanager
    def next(self) -> Iterator[None]:
        """Inside the block the next lane is the current one."""
        with contextlib.ExitStack() as stack:
            if self._streams:
                for stream in reversed(self._streams[self._turn]):  # the first GPU's last, which stays the current one
                    stack.enter_context(torch.cuda.stream(stream))
                self._turn = (self._turn + 1) % self.count
            yield

    def wait(self) -> None:
        """Waits until all lanes are done."""
        for device in self.devices if self._streams else ():
            torch.cuda.synchronize(device)


def gpus_of(model: torch.nn.Module) -> list[torch.device]:
    """The GPUs that a model's parameters are on, in the order of its parts; none for a model on a CPU."""
    return list(dict.fromkeys(parameter.device for parameter in model.parameters() if parameter.is_cuda))


def keep_one_device(arguments: Any) -> None:
    """Keeps the Trainer of one process to one GPU, and says how all of them are used.

    With several GPUs the Trainer would wrap the model into `nn.DataParallel`, which splits a batch by its first dimension:
    token budgets, packed rows and the score layer's inputs do not survive that.

    Args:
        arguments: Transformers' TrainingArguments.
    """
    gpus = arguments.n_gpu
    if gpus > 1:
        arguments._n_gpu = 1
        print(
            f"training on one of {gpus} GPUs; to use all: accelerate launch --config_file ds_configs/ddp.yaml "
            f"--num_processes {gpus} train_reward.py …",
            file=sys.stderr,
        )
