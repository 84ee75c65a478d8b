"""Keeps libraries off the screen: their bars, and warnings that only their developers can mend."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from transformers import logging as transformers_logging


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without its bars and its warnings, such as the one of a score layer that is new, as meant."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def quiet_libraries() -> None:
    """Switches off bars of loading and saving, which take a moment, DeepSpeed's remark that there is no GPU, and libraries'
    warnings to each other: PyTorch 2.13 warns DeepSpeed 0.19 a thousand times in four steps.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers_logging.disable_progress_bar()
    logging.getLogger("DeepSpeed").addFilter(lambda record: record.levelno >= logging.ERROR)
