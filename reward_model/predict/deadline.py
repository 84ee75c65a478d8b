"""A time budget: measures its own speed, and says how long texts may be for what is left to be done in time."""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

# Writing the submission, and texts that turn out longer than they look, must fit in as well.
RESERVE = 0.05
TOKENS_PER_BYTE = 0.25  # of English text, until something was measured


class Deadline:
    """When to be done, and how fast things went so far.

    Args:
        seconds: from `started` on; None for no limit.
        started: on the clock; now if None.
        clock: in seconds.
    """

    def __init__(
        self, seconds: float | None, started: float | None = None, clock: Callable[[], float] = time.monotonic
    ):
        self.clock = clock
        self.started = clock() if started is None else started
        self.ends = None if seconds is None else self.started + seconds * (1 - RESERVE)
        self._seconds, self._tokens, self._bytes, self._uncut_tokens = 0.0, 0, 0, 0

    def share(self, parts: float) -> "Deadline":
        """A deadline for the next of so many equal parts of what is left, with measurements of its own.

        parts: at least 1; 1.5 leaves half as much as the first part takes.
        """
        if self.ends is None:
            return Deadline(None, clock=self.clock)
        now = self.clock()
        part = Deadline(None, now, self.clock)
        part.ends = now + max(0.0, self.ends - now) / parts
        return part

    def note(self, seconds: float, tokens: int, uncut_tokens: int, size: int) -> None:
        """Takes note of work done: its time, the tokens read, the tokens before anything was cut, the bytes of text."""
        self._seconds += seconds
        self._tokens += tokens
        self._uncut_tokens += uncut_tokens
        self._bytes += size

    @property
    def is_over(self) -> bool:
        return self.ends is not None and self.clock() >= self.ends

    def max_length(self, sizes: npt.NDArray[np.int64], least: int, most: int) -> int:
        """The largest max_length from `least` to `most` with which texts of these sizes are read in time.

        Args:
            sizes: int64 [m], bytes of each text that is still to be read.
        """
        if self.ends is None or not self._tokens or not len(sizes):
            return most
        affordable = (self.ends - self.clock()) * self._tokens / max(self._seconds, 1e-9)
        tokens_per_byte = self._uncut_tokens / self._bytes if self._bytes else TOKENS_PER_BYTE
        expected = sizes * tokens_per_byte
        if np.minimum(expected, most).sum() <= affordable:
            return most
        low, high = least, most
        while low < high:
            middle = (low + high + 1) // 2
            if np.minimum(expected, middle).sum() <= affordable:
                low = middle
            else:
                high = middle - 1
        return low
