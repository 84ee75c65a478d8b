"""What must be read to score battles: each distinct (prompt, response) once, however many battles it is in.

A battle has as many sequences as its encoding reads rows (`reward_model.tokens.encodings`). Texts stay in the battles' Arrow
file: a sequence is known by the place of a battle that has it, and by a hash.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import datasets
import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from reward_model.tokens.encodings import Encoding, Texts

IntArray = npt.NDArray[np.int64]
READ_AT_ONCE = 1024


@dataclass(frozen=True)
class Sequences:
    """Distinct sequences of some battles.

    Args:
        battle: int64 [m], the first battle that has the sequence.
        second: int64 [m], 0 where the sequence leads with that battle's response A, 1 where with B.
        size: int64 [m], bytes of text: a measure of length before anything is tokenised.
        prompt: int64 [m], equal for sequences of equal prompts.
        of_battle: int64 [n, rows], the sequences that a battle is scored from.
        keys: [m], a hash of each one's texts, the same wherever they occur.
        fingerprint: of all texts in order.
    """

    battle: IntArray
    second: IntArray
    size: IntArray
    prompt: IntArray
    of_battle: IntArray
    keys: list[bytes]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.battle)

    def texts(self, battles: datasets.Dataset, chosen: IntArray) -> list[Texts]:
        """(prompt, first response, second response) of the chosen sequences."""
        wanted, place = np.unique(self.battle[chosen], return_inverse=True)
        rows = battles[wanted.tolist()]
        texts = []
        for row, second in zip(place.tolist(), self.second[chosen].tolist(), strict=True):
            a, b = rows["response_a"][row], rows["response_b"][row]
            texts.append((rows["prompt"][row], b, a) if second else (rows["prompt"][row], a, b))
        return texts


def distinct_sequences(battles: datasets.Dataset, encoding: Encoding, *, both_orders: bool) -> Sequences:
    """The sequences of battles.

    Args:
        encoding: what a row holds.
        both_orders: read a row that holds both responses in both orders.
    """
    sides = encoding.rows_read(both_orders)
    known: dict[bytes, int] = {}
    prompts: dict[bytes, int] = {}
    first: list[tuple[int, int, int, int]] = []
    of_battle = np.zeros((len(battles), sides), dtype=np.int64)
    everything = hashlib.sha256()
    for place, (prompt, *responses) in enumerate(_texts(battles)):
        for side in range(sides):
            ordered = responses if side == 0 else responses[::-1]
            read = ordered[: encoding.responses_in_row]
            key = xxhash.xxh3_128_digest(orjson.dumps([prompt, *read]))
            if key not in known:
                known[key] = len(first)
                size = sum(len(text.encode()) for turns in (prompt, *read) for text in turns if text)
                same = prompts.setdefault(xxhash.xxh3_128_digest(orjson.dumps(prompt)), len(prompts))
                first.append((place, side, size, same))
            everything.update(key)
            of_battle[place, side] = known[key]
    columns = np.asarray(first, dtype=np.int64).reshape(-1, 4).T
    return Sequences(columns[0], columns[1], columns[2], columns[3], of_battle, list(known), everything.hexdigest())


def _texts(battles: datasets.Dataset) -> Iterator[Texts]:
    for start in range(0, len(battles), READ_AT_ONCE):
        rows = battles[start : start + READ_AT_ONCE]
        yield from zip(rows["prompt"], rows["response_a"], rows["response_b"], strict=True)
