"""Files in, blocks of raw rows out: CSV, Parquet, JSON and JSON Lines, plain or .gz / .zst, on disk or at a URL.

What a file of each kind looks like is known in `arena_data.containers`. A file larger than memory can be read.
"""

from collections.abc import Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from arena_data.containers.block import Block
from arena_data.containers.byte_streams import container
from arena_data.containers.csv_tables import csv_blocks
from arena_data.containers.json_rows import json_blocks
from arena_data.containers.limits import LIMITS, Limits
from arena_data.containers.parquet_tables import parquet_blocks
from arena_data.errors import InputError


def read_blocks(file: str, wanted: Collection[str], limits: Limits = LIMITS) -> Generator[Block, None, None]:
    """Yields the file's rows in order; an empty file with a header yields one block of no rows.

    Args:
        file: path or URL.
        wanted: columns worth reading; others are passed over: some releases hold a conversation thrice.
        limits: sizes beyond which a file is refused.

    Raises: InputError where the file cannot be read as what its name says.
    """
    kind = container(file)[0]
    readers = {"csv": csv_blocks, "parquet": parquet_blocks, "json": json_blocks}
    try:
        yield from _ahead(readers[kind](file, wanted, limits))
    except InputError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"cannot be opened ({error.strerror or error})", file=file) from error
    # What a broken file makes Arrow or Python's own codecs raise, whose messages may have many lines.
    except (pa.ArrowException, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"cannot be read as {kind}: {reason}", file=file, fix="is the file whole?") from error


def _ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks, each read in a thread while the one before it is used: Arrow reads without Python's lock."""
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        waiting = thread.submit(next, blocks, None)
        while (block := waiting.result()) is not None:
            waiting = thread.submit(next, blocks, None)
            yield block
    finally:
        # Not joined: the garbage collector may close a generator that was left half read, inside any thread's start,
        # where a join would wait for a lock that this very thread holds.
        thread.shutdown(wait=False, cancel_futures=True)
