"""One pass over the battles' texts: lengths, turns and fingerprints, one array a measure.

Texts are read batch by batch from Arrow and only numbers are kept, so the page about 57,000 battles, or one with
responses of a megabyte, needs little memory. A fingerprint is equal for equal texts: duplicates are counted with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import datasets
import numpy as np
from tqdm import tqdm

from arena_data.schema import LABELS

TEXT_COLUMNS = ("prompt", "response_a", "response_b")
BATCH = 500  # rows

# Scripts written without spaces count a word a character; a run of anything else between spaces is one word.
_UNSPACED = "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def count_words(text: str) -> int:
    """Words between white space; every Chinese character and kana is a word of its own."""
    return len(text.split()) if text.isascii() else sum(1 for _ in _WORD.finditer(text))


@dataclass(frozen=True)
class Measurements:
    """Everything the statistics need of the battles, row by row, without a text.

    characters, words: int64 [3, n] for prompt, response A, response B, summed over the turns.
    turns: int64 [n], user turns.
    fingerprints: int64 [3, n], equal for equal texts within one process.
    verdicts: float64 [n, 3]; NaN where a row is not labelled.
    models: object [2, n], names of A's and B's model or None.
    languages, groups: object [n], str or None.
    oddities: n lists of names.
    """

    characters: np.ndarray
    words: np.ndarray
    turns: np.ndarray
    fingerprints: np.ndarray
    verdicts: np.ndarray
    models: np.ndarray
    languages: np.ndarray
    groups: np.ndarray
    oddities: list[list[str]]

    def __len__(self) -> int:
        return len(self.turns)

    @property
    def labelled(self) -> np.ndarray:
        """bool [n]: rows that carry a verdict."""
        return ~np.isnan(self.verdicts).any(axis=1)


def _names(values: Sequence[str | None]) -> np.ndarray:
    """object [n]; filled by slices because `np.array` would guess at a type."""
    names = np.empty(len(values), dtype=object)
    names[:] = list(values)
    return names


def measure(battles: datasets.Dataset, *, progress: bool = True) -> Measurements:
    """Reads every battle once. battles: as `arena_data.loading.load_battles` gives them; progress: a bar on stderr."""
    rows = len(battles)
    characters, words, fingerprints = (np.zeros((3, rows), dtype=np.int64) for _ in range(3))
    turns = np.zeros(rows, dtype=np.int64)
    place = 0
    with tqdm(total=rows, desc="lengths", unit=" battles", disable=not progress) as bar:
        texts = battles.select_columns(list(TEXT_COLUMNS)).with_format(None)
        for batch in texts.iter(batch_size=BATCH):
            size = len(batch["prompt"])
            for column, name in enumerate(TEXT_COLUMNS):
                for offset, conversation in enumerate(batch[name]):
                    conversation = [turn or "" for turn in conversation or ()]
                    row = place + offset
                    characters[column, row] = sum(map(len, conversation))
                    words[column, row] = sum(map(count_words, conversation))
                    fingerprints[column, row] = hash(tuple(conversation))
                    if column == 0:
                        turns[row] = len(conversation)
            place += size
            bar.update(size)

    unlabelled = [float("nan")] * len(LABELS)
    verdicts = [unlabelled if verdict is None else verdict for verdict in battles["verdict"]]
    return Measurements(
        characters=characters,
        words=words,
        turns=turns,
        fingerprints=fingerprints,
        verdicts=np.array(verdicts, dtype=np.float64).reshape(rows, len(LABELS)),
        models=np.stack([_names(battles["model_a"]), _names(battles["model_b"])]),
        languages=_names(battles["language"]),
        groups=_names(battles["group"]),
        oddities=[list(names or ()) for names in battles["oddities"]],
    )
