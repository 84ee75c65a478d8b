"""Work of the demo page that ends when its visitor leaves, and leaves no file behind."""

import tempfile
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

SECONDS_BETWEEN_SIGNS = 1.0
Check = Callable[[], None]


class VisitorLeft(Exception):  # no error: nobody waits for the result any more
    """Nobody waits for the result any more."""


def while_waited_for(work: Callable[[Check, Path], str], path: str | None) -> Generator[Path | None, None, None]:
    """Does work in a thread, as long as its result is waited for: None every second, then a page with the result.

    gradio closes a generator when its visitor has left. What was uploaded, and all that came of it, is deleted then, and
    also once the page is on its way.

    Args:
        work: given a function to call now and then, which ends it by an exception, and a folder for its files.
        path: what was uploaded.
    """
    left = threading.Event()

    def check() -> None:
        if left.is_set():
            raise VisitorLeft

    try:
        # Left in this order: the signal is given, the thread ends, the folder goes.
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
            try:
                result = thread.submit(work, check, Path(folder))
                while not wait([result], SECONDS_BETWEEN_SIGNS).done:
                    yield None
                page = Path(folder, "report.html")
                page.write_text(result.result(), encoding="utf-8")
                yield page  # gradio makes a copy before it asks for more
            finally:
                left.set()
    finally:
        # What a visitor uploaded is kept no longer than it is needed.
        if path:
            Path(path).unlink(missing_ok=True)
