"""Groups of battles that folds must not divide: what links two battles, directly or by a chain of others.

| link | two battles have |
| --- | --- |
| `prompt` | the same prompt, up to case and white space (`group` as battles are read) |
| `near_prompt` | prompts whose word triples overlap by 0.8 or more (Jaccard) |
| `responses` | the same two responses, on either side |
| `session` | the same conversation or session, where the release records one |
| `voter` | the same voter or judge, where the release records one |

Groups are the connected components. A busy voter and a prompt such as "hi" can tie most of a release into one group, which
no fold could hold. A link that would do so is left out as a whole, and that is said. Prompts are always kept whole.

Near-duplicates are found by MinHash with banded hashing, as in Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets",
chapter 3 (http://www.mmds.org), by the library datasketch; each candidate's overlap is then counted exactly. With 25
bands of 5 hashes a pair at the threshold is missed once in 20,000 times.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import xxhash
from datasketch import MinHash, MinHashLSH
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from arena_data.quiet import quiet_datasets
from arena_data.style.words import lower, split_words

IntArray = npt.NDArray[np.int64]
Pairs = list[tuple[int, int]]

# Of what links and how folds are dealt: a run's settings name it, since another version deals other folds.
DEALER_VERSION = 2

LINKS = {
    "prompt": "by prompt",
    "near_prompt": "by a near-duplicate prompt",
    "responses": "by the same responses",
    "session": "by session",
    "voter": "by voter",
}
SHINGLE_WORDS = 3
JACCARD = 0.8
BANDS, ROWS = 25, 5
# A link that puts a larger share of all battles into one group leaves no folds to deal.
LARGEST_SHARE = 0.5


@dataclass(frozen=True)
class Links:
    """What grouping did.

    Args:
        battles, groups, largest: how many battles and groups there are, and the battles of the largest group.
        moved: by link, how many battles it added to a larger group.
        left_out: by link that was left out, the battles of the group that it would have made.
    """

    battles: int
    groups: int
    largest: int
    moved: dict[str, int]
    left_out: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {"dealer_version": DEALER_VERSION, **asdict(self)}

    def __str__(self) -> str:
        """One line for the reader."""
        moved = ", ".join(f"{count:,} {LINKS[name]}" for name, count in self.moved.items() if count)
        left_out = "".join(
            f"; not linked {LINKS[name]}, which would tie {size:,} together" for name, size in self.left_out.items()
        )
        grouped = f"{self.battles:,} battles in {self.groups:,} groups, the largest of {self.largest:,}"
        return f"{grouped}; battles linked: {moved or 'none'}{left_out}"


def link_battles(*parts: datasets.Dataset, progress: bool = True) -> tuple[list[datasets.Dataset], Links]:
    """The same battles with `group` naming their connected group, which is common to all parts.

    A group's name is the smallest of its prompts' names, so a battle that nothing links keeps the group it was read with,
    and the names do not depend on the order of the rows.

    Args:
        parts: columns of `arena_data.schema.FEATURES`.
        progress: show a bar where it takes more than a few seconds.
    """
    prompts = [group for part in parts for group in part["group"]]
    size = len(prompts)
    labels = np.arange(size)
    labels, moved, left_out = joined(labels, equal_pairs(prompts)), {}, {}
    moved["prompt"] = size - len(set(labels.tolist()))
    most = max(_largest(labels), int(LARGEST_SHARE * size))
    for name, pairs in _other_links(parts, prompts, progress):
        linked = joined(labels, pairs)
        if (largest := _largest(linked)) > max(most, _largest(labels)):
            left_out[name] = largest
            continue
        moved[name] = _moved(labels, linked)
        labels = linked
    names = _names(labels, prompts)
    counts = Counter(names)
    links = Links(size, len(counts), max(counts.values(), default=0), moved, left_out)
    grouped, start = [], 0
    for part in parts:
        grouped.append(_with_groups(part, names[start : start + len(part)]))
        start += len(part)
    return grouped, links


def _other_links(
    parts: Sequence[datasets.Dataset], prompts: Sequence[str], progress: bool
) -> Iterable[tuple[str, Pairs]]:
    first = {group: row for row, group in reversed(list(enumerate(prompts)))}
    rows = sorted(first.values())
    texts = _chosen([part["prompt"] for part in parts], rows)
    near = near_duplicates(["\n".join(turns) for turns in texts], progress=progress)
    yield "near_prompt", [(rows[one], rows[other]) for one, other in near]
    yield "responses", equal_pairs([key for part in parts for key in _response_pairs(part)])
    for name in ("session", "voter"):
        yield name, equal_pairs([value for part in parts for value in part[name]])


def _chosen(columns: Sequence[Iterable[list[str]]], rows: Sequence[int]) -> list[list[str]]:
    wanted = set(rows)
    values = (value for column in columns for value in column)
    return [value for row, value in enumerate(values) if row in wanted]


def _response_pairs(battles: datasets.Dataset) -> Iterable[int | None]:
    """A hash of both responses, the same whichever side each is on; None where a response is blank."""
    for row in battles.select_columns(["response_a", "response_b"]):
        sides = sorted("\0".join(turn.strip() for turn in row[side]) for side in ("response_a", "response_b"))
        blank = any(not side.strip("\0") for side in sides)
        yield None if blank else xxhash.xxh3_64_intdigest("\1".join(sides).encode())


def equal_pairs(keys: Iterable[Hashable | None]) -> Pairs:
    """(first row, later row) for each row whose key an earlier row has; None is no key."""
    first: dict[Hashable, int] = {}
    pairs = []
    for row, key in enumerate(keys):
        if key is not None and (earlier := first.setdefault(key, row)) != row:
            pairs.append((earlier, row))
    return pairs


def shingles(text: str) -> npt.NDArray[np.uint32]:
    """Hashes of a text's word triples, sorted, each once; of all its words where they are fewer, of a text without words."""
    words = split_words(lower(text)) or [" ".join(text.split())]
    width = min(SHINGLE_WORDS, len(words))
    runs = {" ".join(words[start : start + width]) for start in range(len(words) - width + 1)}
    return np.unique(np.fromiter((xxhash.xxh32_intdigest(run.encode()) for run in runs), np.uint32, len(runs)))


def jaccard(one: npt.NDArray[np.uint32], other: npt.NDArray[np.uint32]) -> float:
    """Size of the intersection over that of the union, of two sorted sets."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def near_duplicates(texts: Sequence[str], *, progress: bool = False) -> Pairs:
    """Places of texts whose shingles overlap by `JACCARD` or more; enough pairs to connect each group of them."""
    sets = [shingles(text) for text in texts]
    joined_texts = DisjointSet(range(len(texts)))
    index = MinHashLSH(params=(BANDS, ROWS), num_perm=BANDS * ROWS)
    hashes = MinHash.generator(sets, num_perm=BANDS * ROWS, seed=1, hashfunc=int, scheme="affine32")
    pairs = []
    bar = tqdm(hashes, "Near-duplicate prompts", len(texts), unit="prompt", delay=3, disable=not progress)
    for place, minhash in enumerate(bar):
        for candidate in sorted(index.query(minhash)):
            if not joined_texts.connected(candidate, place) and jaccard(sets[candidate], sets[place]) >= JACCARD:
                joined_texts.merge(candidate, place)
                pairs.append((candidate, place))
        index.insert(place, minhash, check_duplication=False)
    return pairs


def joined(labels: IntArray, pairs: Pairs) -> IntArray:
    """int64 [n]: components of groups, given as labels of rows, that pairs of rows connect further."""
    if not pairs:
        return labels
    edges = labels[np.asarray(pairs, dtype=np.int64)]
    graph = coo_array((np.ones(len(edges), dtype=np.int8), edges.T), shape=(len(labels), len(labels)))
    component = connected_components(graph, directed=False)[1].astype(np.int64)
    return component[labels]


def _largest(labels: IntArray) -> int:
    return int(np.unique(labels, return_counts=True)[1].max(initial=0))


def _moved(before: IntArray, after: IntArray) -> int:
    """How many rows joined a group at least as large as their own."""
    rows = Counter(zip(after.tolist(), before.tolist(), strict=True))
    stayed: dict[int, int] = defaultdict(int)
    for (group, _), count in rows.items():
        stayed[group] = max(stayed[group], count)
    return len(after) - sum(stayed.values())


def _names(labels: IntArray, prompts: Sequence[str]) -> list[str]:
    smallest: dict[int, str] = {}
    for label, name in zip(labels.tolist(), prompts, strict=True):
        smallest[label] = min(name, smallest.get(label, name))
    return [smallest[label] for label in labels.tolist()]


def _with_groups(battles: datasets.Dataset, groups: list[str]) -> datasets.Dataset:
    if groups == list(battles["group"]):
        return battles
    column = datasets.Dataset.from_dict(
        {"group": groups}, features=datasets.Features({"group": battles.features["group"]})
    )
    with quiet_datasets():
        whole = datasets.concatenate_datasets([battles.remove_columns(["group"]), column], axis=1)
    return whole.select_columns(list(battles.features))
