"""How large a file's parts may be: bounds kept while reading, so that no file takes the machine's memory or its day.

They are far above what any release of battles holds (its longest answer is about a megabyte). A file beyond one is refused
in one line. `load_battles(..., limits=Limits(...))` sets others.
"""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes unless said.

    Args:
        cell: one text.
        row: one row of CSV or line of JSON Lines, all its cells together.
        columns: number of a file's columns, wanted or not.
        header: the first record of a CSV file.
        document: a file that is read as a whole: one JSON document, or a compressed Parquet file.
        expansion: how many times larger a file may be than its compressed bytes, once it is beyond `expansion_from`.
        expansion_from: what may always be decompressed, whatever its ratio.
    """

    cell: int = 16 * MIB
    row: int = 64 * MIB
    columns: int = 2_000
    header: int = MIB
    document: int = 1_024 * MIB
    expansion: int = 200
    expansion_from: int = 256 * MIB


LIMITS = Limits()


def size_text(size: int) -> str:
    """`16 MiB`; sizes below a MiB in bytes."""
    return f"{size / MIB:,.4g} MiB" if size >= MIB else f"{size:,} bytes"
