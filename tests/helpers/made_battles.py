"""Battles whose answer is known: two made-up ways of voting, one that length tells and one that words tell."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np

from arena_data.reading.builder import group_of
from arena_data.schema import FEATURES

SAMPLE = Path(__file__).parents[2] / "arena_data" / "sample.csv"
A, B, TIE = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
WORDS = (
    "river",
    "stone",
    "cloud",
    "paper",
    "window",
    "garden",
    "silver",
    "candle",
    "forest",
    "market",
    "button",
    "ladder",
    "pocket",
    "engine",
)
Row = tuple[str, str, str, list[float] | None]
Make = Callable[..., datasets.Dataset]


def write_sample(path: Path, battles: int) -> str:
    """The first battles of the sample as a CSV file of their own; returns its path."""
    with open(SAMPLE, encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))[: 1 + battles]
    with open(path, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return str(path)


def battles_of(rows: list[Row], source: str = "own") -> datasets.Dataset:
    """Rows of (prompt, A, B, verdict), one turn each."""
    full = [
        dict.fromkeys(FEATURES)
        | {"id": str(number), "prompt": [prompt], "response_a": [a], "response_b": [b], "verdict": verdict}
        | {"group": group_of([prompt]), "source": source, "oddities": []}
        for number, (prompt, a, b, verdict) in enumerate(rows)
    ]
    return datasets.Dataset.from_list(full, features=FEATURES)


def swapped(battles: datasets.Dataset) -> datasets.Dataset:
    """The same battles with A and B exchanged, verdicts too."""
    return datasets.Dataset.from_list(
        [
            row
            | {"response_a": row["response_b"], "response_b": row["response_a"]}
            | {"verdict": row["verdict"] and [row["verdict"][side] for side in (1, 0, 2)]}
            for row in battles
        ],
        features=FEATURES,
    )


def shuffled(battles: datasets.Dataset, seed: int = 5) -> datasets.Dataset:
    """The same battles, each with the verdict of another."""
    order = np.random.default_rng(seed).permutation(len(battles))
    verdicts = [battles[int(row)]["verdict"] for row in order]
    return datasets.Dataset.from_list(
        [row | {"verdict": verdict} for row, verdict in zip(battles, verdicts, strict=True)], features=FEATURES
    )


def by_length(count: int, seed: int, tie_rate: float = 0.3, source: str = "own", **_: object) -> datasets.Dataset:
    """A tie with a chance of `tie_rate`; otherwise the longer answer wins with a chance of 0.9."""
    draw = np.random.default_rng(seed)
    rows: list[Row] = []
    for number in range(count):
        sides: list[str] = [" ".join(draw.choice(WORDS, draw.integers(4, 60))) for _ in range(2)]
        longer = int(len(sides[1]) > len(sides[0]))
        won = longer if draw.random() < 0.9 else 1 - longer
        verdict = TIE if draw.random() < tie_rate else (A, B)[won]
        rows.append((f"Question {source} {seed} {number}?", sides[0], sides[1], verdict))
    return battles_of(rows, source)


def by_words(count: int, seed: int, words: int = 20, **_: object) -> datasets.Dataset:
    """Answers of one length; where one says 'splendid' and the other 'dreadful', the first wins nine times in ten."""
    draw = np.random.default_rng(seed)
    rows: list[Row] = []
    for number in range(count):
        sides = [list(draw.choice(WORDS, words)) for _ in range(2)]
        verdict = TIE
        if draw.random() < 0.75:
            better = int(draw.integers(2))
            for side, word in ((better, "splendid"), (1 - better, "dreadful")):
                sides[side][draw.integers(words)] = word
            verdict = (A, B)[better if draw.random() < 0.9 else 1 - better]
        rows.append((f"Question {seed} {number}?", " ".join(sides[0]), " ".join(sides[1]), verdict))
    return battles_of(rows)


def write_battles(path: Path, battles: datasets.Dataset) -> str:
    """Writes them as JSON Lines; returns the path."""
    winner = ("model_a", "model_b", "tie")
    lines = [
        {name: row[name] for name in ("prompt", "response_a", "response_b")}
        | {"winner": winner[int(np.argmax(row["verdict"]))], "source": row["source"]}
        for row in battles
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return str(path)
