"""How much a client may ask for, and the errors that say so. Each error is one line and has an HTTP status."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Args:
        queued: rows that may wait, of all clients together.
        rows: rows of one request.
        characters: of one text.
        body_bytes: of one request's body.
        seconds: from a request's arrival to its answer.
        batch: rows that are handed to a worker at a time; the model cuts them to its token budget.
    """

    queued: int = 8192
    rows: int = 1024
    characters: int = 1_000_000
    body_bytes: int = 32 * 2**20
    seconds: float = 120.0
    batch: int = 256


class Refusal(Exception):
    """A request that gets no scores.

    Args:
        status: of HTTP.
        message: one line, without any of the client's texts.
        retry_after: seconds after which the client may try again; None where that would not help.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None):
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


def bad_request(message: str) -> Refusal:
    return Refusal(422, message)


def too_large(what: str, size: int, most: int) -> Refusal:
    return Refusal(413, f"{what}: {size:,}; at most {most:,} are taken")
