"""Saves checkpoints that are whole by their manifest, and loads the best one from where it lies now.

What the Trainer of Transformers 5.23 does otherwise: it removes earlier checkpoints before the new one is known to be whole,
and it looks for the best checkpoint at the path that it had when it was saved.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError  # what PyTorch raises; nothing here unpickles
from typing import Any

from transformers.trainer_utils import rotate_checkpoints
from trl import RewardTrainer

from arena_data.errors import InputError
from reward_model.train.checkpoints.manifest import one_line_if_unwritten, write_manifest


class CheckpointTrainer(RewardTrainer):
    """TRL's RewardTrainer with such checkpoints.

    Attributes:
        run_settings: what this run is, for the manifests: `reward_model.train.settings.run_settings.settings_of`.
    """

    args: Any
    run_settings: dict[str, Any] | None = None
    _resumed_from: str | None = None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the Trainer's. Raises: InputError, one line, where the disk is full."""
        with one_line_if_unwritten(output_dir or str(self.args.output_dir)):
            super().save_model(output_dir, _internal_call)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As the Trainer's, then its manifest, and only then are earlier checkpoints removed."""
        run_directory = str(self._get_output_dir(trial=trial))
        checkpoint = Path(run_directory, f"checkpoint-{self.state.global_step}")
        if self.args.should_save and checkpoint.is_dir():  # one that was passed over: its files are not mixed with ours
            shutil.rmtree(checkpoint)
        self.accelerator.wait_for_everyone()
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            with one_line_if_unwritten(checkpoint, remove=True):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()  # each rank has files of its own
                if self.args.should_save:
                    write_manifest(checkpoint, self.run_settings)
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            rotate_checkpoints(run_directory, limit, self.state.best_model_checkpoint, use_mtime=True)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        self._resumed_from = resume_from_checkpoint if isinstance(resume_from_checkpoint, str) else None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """As the Trainer's, which reads tensors and numbers alone. Raises: InputError for a file that holds others."""
        with _one_line_if_unreadable(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """As the Trainer's, which reads tensors and numbers alone. Raises: InputError for a file that holds others."""
        with _one_line_if_unreadable(checkpoint):
            super()._load_rng_state(checkpoint)

    def _load_best_model(self) -> None:
        """As the Trainer's, from where the best checkpoint lies now: its path was noted when it was saved."""
        noted = Path(str(self.state.best_model_checkpoint))
        folders = [Path(str(self.args.output_dir))]
        if self._resumed_from is not None:
            folders.append(Path(self._resumed_from).parent)
        places = [folder / noted.name for folder in folders if (folder / noted.name).is_dir()]
        self.state.best_model_checkpoint = str(places[0] if places else noted)
        super()._load_best_model()


@contextlib.contextmanager
def _one_line_if_unreadable(checkpoint: str | None) -> Iterator[None]:
    """Raises: InputError in the place of what PyTorch raises for a file that is none of its own."""
    try:
        yield
    except (UnpicklingError, EOFError, RuntimeError, KeyError, TypeError, AttributeError, ValueError) as error:
        if type(error).__name__ == "OutOfMemoryError" or checkpoint is None:
            raise
        raise InputError(
            "has an optimizer, a schedule or random numbers that cannot be read",
            file=checkpoint,
            found=type(error).__name__,
            fix="remove this checkpoint; the same command goes on from the one before",
        ) from error
