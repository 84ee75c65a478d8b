"""What a run tells of its steps, kept on the device until it is wanted.

Every number that Python reads makes a GPU finish all that was asked of it, and wait for what is asked next. So losses and
figures stay tensors: losses are looked at once an optimizer step, figures once a log entry, each time all together.

Source: https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html, "avoid unnecessary CPU-GPU synchronization".
"""

from collections import defaultdict
from collections.abc import Mapping

import torch


class NotFiniteError(RuntimeError):
    """The loss is NaN or infinite; says at which step and on which battles."""


class DeviceFigures:
    """Losses since the last optimizer step, and figures since the last log entry."""

    def __init__(self) -> None:
        self._losses: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self._figures: defaultdict[str, list[torch.Tensor]] = defaultdict(list)

    def add_loss(self, step: int, battles: torch.Tensor, loss: torch.Tensor) -> None:
        """battles: int64 [n], their places in the dataset; loss: float32 [n], of each."""
        self._losses.append((step, battles, loss.detach()))

    def check_losses(self) -> None:
        """Forgets the losses. Raises: NotFiniteError for one that is NaN or infinite, naming step and battles."""
        losses, self._losses = self._losses, []
        if not losses or bool(torch.isfinite(torch.cat([loss for _, _, loss in losses])).all()):
            return
        step, battles, loss = next(one for one in losses if not torch.isfinite(one[2]).all())
        bad = battles[~torch.isfinite(loss)].tolist()
        raise NotFiniteError(
            f"the loss is not finite at step {step} on training battles {bad[:8]}; the last checkpoint is kept: lower "
            "learning_rate, or look at these battles"
        )

    def add(self, figures: Mapping[str, torch.Tensor]) -> None:
        """A batch's figures by name, each a tensor of one element."""
        for name, figure in figures.items():
            self._figures[name].append(figure.detach())

    def take(self) -> dict[str, list[float]]:
        """The figures by name as numbers, one a batch; forgets them."""
        figures, self._figures = self._figures, defaultdict(list)
        tensors = [tensor.float().reshape(()) for one in figures.values() for tensor in one]
        numbers = iter(torch.stack(tensors).tolist() if tensors else ())
        return {name: [next(numbers) for _ in one] for name, one in figures.items()}
