"""Keeps the progress bars of `datasets` off the screen."""

import contextlib
from collections.abc import Iterator

import datasets


@contextlib.contextmanager
def quiet_datasets() -> Iterator[None]:
    """Without the progress bars of `datasets`."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
