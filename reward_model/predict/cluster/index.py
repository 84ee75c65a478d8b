"""What is done: a record a file of battles as its partitions come in, and the index of all when nothing is missing.

Ids are compared last, from the partitions themselves, so that nothing has to be kept for it while battles stream by. It
takes 8 bytes a battle: hashes are compared, and the ids only of equal hashes.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

from arena_data.errors import InputError
from arena_data.file_io import json_text
from reward_model.predict.cluster import partition
from reward_model.predict.cluster.work_plan import FILES, INDEX, WorkPlan

_READERS = 8  # threads; a store answers slowly, and many at once


@dataclass
class Record:
    """The partitions of one file.

    Args:
        parts: what is told of each part, by its number.
        wanted: how many there are; 0 while it is not known.
    """

    parts: dict[int, dict[str, Any]] = field(default_factory=dict)
    wanted: int = 0

    @property
    def is_whole(self) -> bool:
        return 0 < self.wanted == len(self.parts)


@dataclass
class Progress:
    """What is done of a plan.

    Args:
        records: by number of the file.
        first_error: what the first battle failed on that could not be scored.
    """

    plan: WorkPlan
    records: dict[int, Record] = field(default_factory=dict)
    first_error: str = ""

    @classmethod
    def of(cls, plan: WorkPlan) -> "Progress":
        """With what an earlier run of the same plan has finished. A record that cannot be read counts for nothing."""
        progress = cls(plan)
        names = plan.folder.names(FILES)
        for file in range(len(plan.files)):
            content = plan.folder.read(_record_name(file)) if f"{file:05d}.json" in names else None
            try:
                stored = json.loads(content) if content else {}
                if stored.get("mark") == plan.mark:
                    parts = {int(part["part"]): part for part in stored["parts"]}
                    progress.records[file] = Record(parts, int(stored["wanted"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return progress

    @property
    def missing(self) -> list[int]:
        """Numbers of the files that are not done."""
        return [file for file in range(len(self.plan.files)) if not self.records.get(file, Record()).is_whole]

    @property
    def rows(self) -> int:
        return self._sum("rows")

    @property
    def failed(self) -> int:
        return self._sum("failed")

    @property
    def oddities(self) -> Counter[str]:
        """How many battles were odd, by what was odd."""
        counts: Counter[str] = Counter()
        for part in self._parts():
            counts.update(part["oddities"])
        return counts

    def add(self, row: Mapping[str, Any]) -> None:
        """Notes a finished part, a row of `RESULT_SCHEMA`; writes its file's record when that was the last one."""
        record = self.records.setdefault(row["file"], Record())
        told = {name: row[name] for name in ("part", "first_row", "rows", "failed")}
        record.parts[row["part"]] = told | {"oddities": json.loads(row["oddities"])}
        record.wanted = row["parts"] or record.wanted
        self.first_error = self.first_error or row["error"]
        if record.is_whole:
            parts = [record.parts[number] for number in sorted(record.parts)]
            stored = {"mark": self.plan.mark, "wanted": record.wanted, "parts": parts}
            self.plan.folder.write(_record_name(row["file"]), json_text(stored).encode())

    def write_index(self, columns: list[str]) -> None:
        """Checks all partitions and writes index.json.

        Raises: InputError for a partition that is missing or broken, or an id that two battles have.
        """
        assert not self.missing, "files are missing"
        _check_ids(self.plan, self._partitions())
        stored = self.plan.stored()
        index = {
            "rows": self.rows,
            "failed": self.failed,
            "columns": columns,
            "models": stored["models"],
            "files": [
                about | {"rows": sum(part["rows"] for part in self.records[file].parts.values())}
                for file, about in enumerate(stored["files"])
            ],
            "partitions": [
                {"name": name, "file": file, "first_row": part["first_row"], "rows": part["rows"]}
                for file, name, part in self._partitions()
            ],
        }
        self.plan.folder.write(INDEX, json_text(index).encode())

    def _parts(self) -> Iterator[dict[str, Any]]:
        for record in self.records.values():
            yield from record.parts.values()

    def _sum(self, name: str) -> int:
        return sum(part[name] for part in self._parts())

    def _partitions(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Number of the file, name of the partition and what is told of it, in the order of the battles."""
        return [
            (file, self.plan.part_name(file, number), record.parts[number])
            for file, record in sorted(self.records.items())
            for number in sorted(record.parts)
            if record.parts[number]["rows"]
        ]


def _record_name(file: int) -> str:
    return f"{FILES}/{file:05d}.json"


def _check_ids(plan: WorkPlan, partitions: list[tuple[int, str, dict[str, Any]]]) -> None:
    """Raises: InputError for a partition that is not whole, or for an id that two battles have."""

    def ids_of(place: tuple[int, str, dict[str, Any]]) -> list[str]:
        _, name, part = place
        read = partition.read(plan, name, part["rows"])
        if read is None:
            what = "the partition is missing or broken"
            fix = f"remove {FILES}/{place[0]:05d}.json, and give the same command again"
            raise InputError(what, file=f"{plan.folder.name}/{name}", fix=fix)
        return read.ids

    hashes = np.empty(sum(part["rows"] for *_, part in partitions), dtype=np.uint64)
    filled = 0
    with ThreadPoolExecutor(_READERS) as threads:
        for ids in _in_order(threads, ids_of, partitions):
            hashes[filled : filled + len(ids)] = [_hash(name) for name in ids]
            filled += len(ids)
        hashes.sort()
        doubled = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        if doubled:
            _refuse_doubled(plan, doubled, zip(partitions, _in_order(threads, ids_of, partitions), strict=True))


def _hash(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode())


def _in_order(threads: ThreadPoolExecutor, read: Any, places: list[Any]) -> Iterator[list[str]]:
    """`read` of each place, in order, by threads that are never more than a few places ahead."""
    for start in range(0, len(places), _READERS):
        yield from threads.map(read, places[start : start + _READERS])


def _refuse_doubled(plan: WorkPlan, doubled: set[int], parts: Iterator[tuple[Any, list[str]]]) -> None:
    """Raises: InputError for the first id that comes again; ids of equal hashes may still differ."""
    seen: dict[str, tuple[str, int]] = {}
    for (file, _, part), ids in parts:
        for row, name in enumerate(ids, start=part["first_row"]):
            if _hash(name) not in doubled:
                continue
            if name in seen:
                before, first = seen[name]
                raise InputError(
                    f"duplicate id, the same as in {before}, row {first}",
                    file=plan.files[file],
                    row=row,
                    column="id",
                    found=name,
                    fix="give each battle an id of its own",
                )
            seen[name] = (plan.files[file], row)
