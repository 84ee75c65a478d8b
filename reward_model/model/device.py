"""Which device computes. Asked here alone, so that a machine without a working GPU answers alike everywhere.

A CUDA build of PyTorch names `cuda` as its accelerator on any machine; only `check_available` asks the driver.

Source: https://docs.pytorch.org/docs/stable/generated/torch.accelerator.current_accelerator.html.
"""

import sys
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
            f"training on one of {gpus} GPUs; to use all: accelerate launch --num_processes {gpus} train_reward.py …",
            file=sys.stderr,
        )
