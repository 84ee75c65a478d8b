"""What a person sees of a training run: one bar with the time left and the current figures, and a line an evaluation.

The Trainer's own callback prints every log entry; these go to the trackers and to curves.png anyway.

Source: `ProgressCallback`, https://huggingface.co/docs/transformers/main_classes/callback.
"""

import logging
import warnings
from typing import Any

from transformers import ProgressCallback
from transformers import logging as transformers_logging
from transformers.trainer_callback import PrinterCallback

SHOWN = {"log_loss": "log loss", "tokens_per_second": "tokens/s", "padding_share": "padding"}


class Progress(ProgressCallback):
    """The Trainer's bar, with log entries beside it instead of below it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        bar = self.training_bar
        if not state.is_world_process_zero or bar is None or not logs:
            return
        bar.set_postfix({name: _short(logs[key]) for key, name in SHOWN.items() if key in logs}, refresh=False)
        if "eval_log_loss" in logs:
            epoch, log_loss, accuracy = (float(logs.get(key, 0)) for key in ("epoch", "eval_log_loss", "eval_accuracy"))
            bar.write(f"epoch {epoch:.2f}: held-out log loss {log_loss:.4f}, accuracy {accuracy:.3f}")


def show_progress(trainer: Any) -> None:
    """Puts `Progress` in the place of what the Trainer prints; with disable_tqdm nothing is printed between the ends."""
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(Progress)


def quiet_libraries() -> None:
    """Switches off bars of loading and saving, which take a moment, DeepSpeed's remark that there is no GPU, and libraries'
    warnings to each other: PyTorch 2.13 warns DeepSpeed 0.19 a thousand times in four steps.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers_logging.disable_progress_bar()
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)


def _short(value: Any) -> str:
    return f"{float(value):.3g}"
