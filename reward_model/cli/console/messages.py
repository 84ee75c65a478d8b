"""Lines to a person beside a command's output."""

import sys


def say(*lines: str) -> None:
    """To standard error."""
    for line in lines:
        print(line, file=sys.stderr)
