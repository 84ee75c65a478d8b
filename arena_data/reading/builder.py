"""The `datasets` builder: files of any arena release in, a cached and fingerprinted Arrow dataset of battles out.

Used as a class, since `load_dataset` runs no scripts any more
(https://huggingface.co/docs/datasets/package_reference/builder_classes):

    builder = ArenaBattles(data_files="train.csv", labels="required")
    builder.download_and_prepare()
    battles = builder.as_dataset(split="train")          # or builder.as_streaming_dataset(split="train")

`arena_data.loading.load_battles` does that, takes Hub ids too, and says what is wrong in one line.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import datasets
import pyarrow as pa
import xxhash
from datasets.builder import Key

from arena_data.containers.byte_streams import container
from arena_data.containers.limits import LIMITS, Limits
from arena_data.reading.cleaning import clean_turns, is_blank
from arena_data.reading.families import WANTED
from arena_data.reading.files import read_blocks
from arena_data.reading.formats import BlockReader, Draft, Labels, Segment
from arena_data.reading.ids import Content, IdRegister, content_of, has_votes
from arena_data.schema import FEATURES

# A change to how rows are read must not be served from a cache that an older version filled.
_PACKAGE = Path(__file__).parents[1]
_SOURCES = (*sorted(_PACKAGE.glob("reading/*.py")), *sorted(_PACKAGE.glob("containers/*.py")), _PACKAGE / "schema.py")
CODE_HASH = hashlib.blake2b(b"".join(path.read_bytes() for path in _SOURCES), digest_size=8).hexdigest()

VERSION = datasets.Version("1.0.0")


@dataclass
class ArenaConfig(datasets.BuilderConfig):
    """`labels`: "required" in training (a row without a verdict is an error), "optional" in prediction."""

    version: datasets.Version = VERSION
    labels: Labels = "optional"
    # Those of `arena_data.containers.limits.Limits` that differ, by name: plain values, which make the cache's name.
    limits: dict[str, int] | None = None


class ArenaBattles(datasets.ArrowBasedBuilder):
    """Battles with the columns of `arena_data.schema.FEATURES`, in the order of the files and of their rows.

    Raises: InputError for input that cannot be read; `download_and_prepare` wraps it in a DatasetGenerationError.
    """

    BUILDER_CONFIG_CLASS = ArenaConfig

    def __init__(self, *args: Any, hash: str | None = None, **kwargs: Any):
        super().__init__(*args, hash=hash or CODE_HASH, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=FEATURES)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        splits = []
        for name, files in self.config.data_files.items():
            for file in files:
                container(str(file))
            # Downloads lose their names, and names say what a file holds: both go along.
            local = dl_manager.download(files)
            # A tuple, which `datasets` does not deal out to workers: ids are checked over all files.
            pairs = tuple(zip(map(str, files), map(str, local), strict=True))
            splits.append(datasets.SplitGenerator(name=name, gen_kwargs={"files": pairs}))
        return splits

    def _generate_tables(self, files: Sequence[tuple[str, str]]) -> Iterator[tuple[Key, pa.Table]]:
        limits = Limits(**(self.config.limits or {}))
        for file, block, table in battle_tables(files, self.config.labels, limits):
            yield Key(file, block), table


def battle_tables(
    files: Sequence[tuple[str, str]], labels: Labels, limits: Limits = LIMITS, first_file: int = 0
) -> Iterator[tuple[int, int, pa.Table]]:
    """Battles block by block, as (number of the file, number of the block in it, table of `FEATURES`); the same each time.

    Args:
        files: name and path of each, which differ for a download.
        first_file: number of the first of them among all that are read, by which rows without an id are named.

    Raises: InputError for a row that cannot be read, or an id that another row of these files has.
    """
    register = IdRegister()
    for file_index, (name, path) in enumerate(files, start=first_file):
        local = path if path.endswith(Path(name).suffix) else name
        reader = BlockReader(name, labels, local, limits)
        contents = functools.partial(_contents, name, local, limits)
        with closing(read_blocks(local, WANTED, limits)) as blocks:
            for block_index, block in enumerate(blocks):
                segments, others = reader.read(block)
                votes = contents if has_votes(block) else None
                others["id"] = register.add(others["id"], name, file_index, block.first_row, votes)
                yield file_index, block_index, _table(segments, others, block.oddities)


def _contents(name: str, path: str, limits: Limits) -> Iterator[list[Content]]:
    """What each row of a file says, block by block; its models go along where the file has a `question_id` only."""
    reader = BlockReader(name, "optional", path, limits)
    for block in read_blocks(path, WANTED, limits):
        segments, others = reader.read(block)
        hashes: list[int] = []
        for segment in segments:
            if not segment or isinstance(segment[0], Draft):
                rows = cast(list[Draft], segment)
                hashes += [content_of(row.prompt, row.response_a, row.response_b) for row in rows]
            else:
                columns = [column.to_pylist() for column in cast(list[pa.ListArray], segment)]
                hashes += [content_of(*row) for row in zip(*columns, strict=True)]
        pairs = zip(others["model_a"], others["model_b"], strict=True)
        yield list(zip(hashes, [None] * len(hashes) if "id" in block.columns else pairs, strict=True))


TEXT_COLUMNS = ("prompt", "response_a", "response_b", "group", "oddities")
SCHEMA = FEATURES.arrow_schema


def _table(segments: list[Segment], others: dict[str, list[Any]], oddities: frozenset[str] = frozenset()) -> pa.Table:
    columns: dict[str, list[Any] | pa.ChunkedArray] = dict(others)
    for name in ("model_a", "model_b", "language", "source", "session", "voter"):
        if "" in others[name] or not {str, type(None)}.issuperset(map(type, others[name])):
            columns[name] = [None if value is None or value == "" else str(value) for value in others[name]]
    chunks = [
        _drafts(segment, oddities) if not segment or isinstance(segment[0], Draft) else _plain(segment, oddities)
        for segment in segments
    ]
    for index, name in enumerate(TEXT_COLUMNS):
        kind = SCHEMA.field(name).type
        columns[name] = pa.chunked_array([pa.array(chunk[index], type=kind) for chunk in chunks], type=kind)
    return pa.table(
        [
            value if isinstance(value := columns[field.name], pa.ChunkedArray) else pa.array(value, type=field.type)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )


def _plain(lists: list[pa.ListArray], oddities: frozenset[str]) -> list[Any]:
    """The text columns of rows that Arrow has parsed and in which nothing is odd but what is of the whole file."""
    groups = [group_of(prompt) for prompt in lists[0].to_pylist()]
    return [*lists, groups, [sorted(oddities)] * len(groups)]


def _drafts(drafts: list[Draft], of_file: frozenset[str]) -> list[list[Any]]:
    """The text columns of rows that need care: cleaned, with what was odd about them named."""
    columns: list[list[Any]] = [[] for _ in TEXT_COLUMNS]
    for draft in drafts:
        oddities = draft.oddities | of_file
        prompt, response_a, response_b = (
            clean_turns(turns, oddities) for turns in (draft.prompt, draft.response_a, draft.response_b)
        )
        if is_blank(prompt):
            oddities.add("empty_prompt")
        if is_blank(response_a) or is_blank(response_b):
            oddities.add("empty_response")
        if response_a == response_b:
            oddities.add("identical_responses")
        if not len(prompt) == len(response_a) == len(response_b):
            oddities.add("unequal_turns")
        row = (prompt, response_a, response_b, group_of(prompt), sorted(oddities))
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns


def group_of(prompt: Sequence[str]) -> str:
    """An id that is equal for equal prompts, whatever their case and the white space around them, on every machine."""
    text = prompt[0].strip() if len(prompt) == 1 else "\0".join([turn.strip() for turn in prompt])
    return xxhash.xxh3_64_hexdigest(text.casefold().encode())
