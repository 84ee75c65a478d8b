"""A file's bytes as UTF-8: opened from disk or a URL, decompressed, and decoded where they are of another encoding.

A file in UTF-16 or UTF-32 says so in its first bytes. Latin-1 says nothing; it is taken for certain where several bytes
are not UTF-8, none is, and they stand among letters as accented letters do.
"""

import io
import re
from pathlib import PurePosixPath
from typing import Protocol

import pyarrow as pa

from arena_data.containers.limits import Limits, size_text
from arena_data.containers.stores import store_of
from arena_data.errors import InputError

CONTAINERS = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".tsv": "csv",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

# The longer mark comes first: that of UTF-32 begins with that of UTF-16.
MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": None,
}
# What other kinds of file begin with; of a file named .csv or .json that is none.
OTHER_KINDS = {
    b"\x1f\x8b": ("is compressed by gzip", "add .gz to its name"),
    b"\x28\xb5\x2f\xfd": ("is compressed by zstd", "add .zst to its name"),
    b"PAR1": ("is a Parquet file", "end its name in .parquet"),
    b"PK\x03\x04": ("is a zip archive, such as Excel writes", "unpack it, or save it as CSV in UTF-8"),
    b"version https://git-lfs": ("is only a pointer of Git LFS", "get the file itself by git lfs pull"),
    b"<!doctype html": ("is a web page", "was the download refused?"),
    b"<html": ("is a web page", "was the download refused?"),
}
GUESSED = {"latin-1", "cp1252"}  # encodings that a file does not name itself
UTF8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
# An accented letter or a typographic mark on its own, or two in a word; other alphabets come in longer runs.
WESTERN = re.compile(
    rb"(?<![\x80-\xff])(?:[\x80-\xff](?![\x80-\xff])|(?<=[A-Za-z])[\xc0-\xff]{2}|[\xc0-\xff]{2}(?=[A-Za-z]))"
)


class Source(Protocol):
    """What can be read from: Arrow's streams and those of Python."""

    def read(self, size: int, /) -> bytes: ...


def container(file: str) -> tuple[str, str | None]:
    """What a file holds, and how it is compressed, by its name: `("csv", "gzip")` for `train.csv.gz`.

    Raises: InputError for any other ending.
    """
    # Only a URL has a query; a local file's name may hold a question mark.
    path = PurePosixPath(file.split("::")[0].split("?")[0] if "://" in file else file)
    suffix = path.suffix.lower()
    compression = COMPRESSIONS.get(suffix)
    if compression:
        suffix = path.with_suffix("").suffix.lower()
    if suffix not in CONTAINERS:
        endings = " ".join(CONTAINERS)
        raise InputError("not a file of battles", file=file, expected=f"{endings}, plain or .gz or .zst")
    return CONTAINERS[suffix], compression


def open_bytes(file: str, limits: Limits) -> pa.NativeFile:
    """A stream of the file's bytes, decompressed. Local paths and URLs alike.

    Do not close it while a reader of Arrow's may still read ahead: drop it. A closed file's number goes to the next file
    that is opened, and a late read would take bytes from that one.
    """
    compression = container(file)[1]
    if "://" in file:
        store, path = store_of(file)
        stream = pa.PythonFile(store.open(path, "rb"), mode="r")
    else:
        stream = pa.OSFile(file)
    if not compression:
        return stream
    counted = _Counted(stream)
    pressed = pa.PythonFile(counted, mode="r")
    return pa.PythonFile(_Bounded(file, pa.CompressedInputStream(pressed, compression), counted, limits), mode="r")


def read_whole(file: str, stream: Source, limits: Limits, start: bytes = b"") -> bytes:
    """All that is left, after `start`. Raises: InputError beyond the limit of a document."""
    parts, size = [start], len(start)
    while chunk := stream.read(min(8 << 20, limits.document - size + 1)):
        parts.append(bytes(chunk))
        size += len(chunk)
        if size > limits.document:
            raise InputError(
                f"is larger than {size_text(limits.document)} and has to be read as a whole",
                file=file,
                fix="write it as JSON Lines or as plain Parquet",
            )
    return b"".join(parts)


def encoding_of(file: str, start: bytes) -> str | None:
    """The encoding of a text that begins so; None for UTF-8, and for UTF-8 with stray bytes in it.

    Raises: InputError for what is no text, or certainly not UTF-8 and of an encoding that is not certain.
    """
    for beginning, (what, fix) in OTHER_KINDS.items():
        if start[: len(beginning)].lower() == beginning.lower():
            raise InputError(what, file=file, expected="text", fix=fix)
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return encoding
    zeros = start[:4096].count(0)
    if zeros and zeros * 3 >= len(start[:4096]):
        raise InputError("looks like UTF-16 without a byte order mark", file=file, fix="save it as UTF-8")
    runs = HIGH_BYTES.findall(start)
    high = sum(map(len, runs))
    if high < 2 or UTF8_SEQUENCE.search(start):
        return None
    if sum(len(match) for match in HIGH_BYTES.findall(b" ".join(WESTERN.findall(start)))) * 10 >= high * 9:
        return "cp1252" if re.search(rb"[\x80-\x9f]", start) else "latin-1"
    if high >= 20:
        raise InputError(
            "is not UTF-8; it looks like another encoding of one or two bytes a character",
            file=file,
            fix="save it as UTF-8",
        )
    return None


def as_utf8(stream: pa.NativeFile, encoding: str | None) -> pa.NativeFile:
    """The stream's text in UTF-8."""
    return pa.lib.transcoding_input_stream(stream, encoding, "utf-8") if encoding else stream


class Buffered(io.RawIOBase):
    """A source as a raw stream of Python's, for `io.BufferedReader`."""

    def __init__(self, source: Source):
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Counted(io.RawIOBase):
    """Passes reads on and counts the bytes."""

    def __init__(self, source: Source):
        self._source, self.count = source, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.count += len(data)
        return data


class _Bounded(io.RawIOBase):
    """Decompressed bytes, as long as they are not out of all proportion to the compressed ones."""

    def __init__(self, file: str, source: Source, pressed: _Counted, limits: Limits):
        self._file, self._source, self._pressed, self._limits = file, source, pressed, limits
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # Arrow itself never asks for all; a bounded answer is what keeps memory bounded.
        data = self._source.read(size if size >= 0 else 8 << 20)
        self._count += len(data)
        if self._count > max(self._limits.expansion_from, self._limits.expansion * self._pressed.count):
            raise InputError(
                f"holds more than {size_text(self._count)} in {self._pressed.count:,} compressed bytes",
                file=self._file,
                expected=f"at most {self._limits.expansion} times the compressed size",
                fix="decompress it, and look whether it is what you expect",
            )
        return data


class Rejoined(io.RawIOBase):
    """Bytes that were read already, and then the rest of their stream."""

    def __init__(self, start: bytes, source: Source):
        self._start, self._source = start, source

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._start:
            part = self._start if size < 0 else self._start[:size]
            self._start = self._start[len(part) :]
            return part
        return self._source.read(size)
