"""Style features: what can be counted about a response without reading it.

People vote for length, lists and headings as well as for content. What is counted here lets a model say how much of a
verdict style alone explains, add it (a style head, the classical baselines) or take it away (a reward free of it).

One vector a response, a function of the prompt and of that response only: swapping A and B swaps the two vectors, so
differences change sign and the pair features (absolute differences, similarity) stay what they are, both exactly.
Everything is on a tame scale for linear models, finite for any input, and takes time linear in the text: patterns are
possessive or bounded, and phrases are plain substring searches (`arena_data.style.phrases`). A null turn is an empty one.

Source: style control in Chatbot Arena (Li, Angelopoulos, Chiang, 2024) counts length, headings, bold and lists; the
length features are explained in `arena_data.style.lengths`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log1p
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from arena_data.errors import InputError
from arena_data.style.lengths import LENGTH_FEATURES, LENGTH_NOTES, LengthSummary, length_values, summarise
from arena_data.style.markup import count_markup
from arena_data.style.phrases import names_itself, pleads_being_an_ai, praises_itself, refuses
from arena_data.style.words import lower, split_words

if TYPE_CHECKING:
    import datasets

# Raised whenever a feature's name, order or value changes: a stored style head fits one version only.
STYLE_VERSION = 1

Float32Array = npt.NDArray[np.float32]
Turns = Sequence[str | None]

_COUNTED = "log(1 + number), "
_STYLE_NOTES: dict[str, str] = {
    "log_words": _COUNTED + "words; where a script writes no spaces each character is a word, and so is an emoji.",
    "log_lines": _COUNTED + "lines that are not blank.",
    "log_bullets": _COUNTED + "bulleted list items outside code.",
    "log_numbered": _COUNTED + "numbered list items outside code.",
    "log_headings": _COUNTED + "Markdown headings (#) outside code.",
    "log_bold": _COUNTED + "passages in bold outside code.",
    "log_tables": _COUNTED + "Markdown tables outside code.",
    "log_code_blocks": _COUNTED + "fenced code blocks; one left open counts.",
    "log_code_lines": _COUNTED + "lines within fenced code blocks.",
    "log_inline_code": _COUNTED + "passages of inline code.",
    "log_questions": _COUNTED + "question marks of any script outside code.",
    "log_exclamations": _COUNTED + "exclamation marks, full-width ones too, outside code.",
    "log_emoji": _COUNTED + "emoji.",
    "refusal": "Share of turns with a stock phrase of refusal (ten languages), 0 to 1.",
    "disclaimer": "Share of turns that plead being an AI, as in 'As an AI language model', 0 to 1.",
    "self_naming": "Share of turns in which the response names itself or its maker, not just any chat model, 0 to 1.",
    "self_praise": "Share of turns that praise this answer, or ask to be chosen over the other, 0 to 1.",
    "empty": "Share of turns without visible text, unanswered prompt turns included, 0 to 1; 1 for no turns.",
    "unfinished": "Share of turns that end in a letter or a comma, as a reply that is cut off does, 0 to 1.",
    "repeated_lines": "Share of lines outside code that occurred before in the same turn, 0 to 1.",
    "repeated_four_grams": "Share of runs of four words that occurred before in the same turn, 0 to 1.",
    "other_script": "Absolute difference of response and prompt in the share of characters beyond Latin-1, 0 to 1.",
}
RESPONSE_FEATURES: tuple[str, ...] = LENGTH_FEATURES + tuple(_STYLE_NOTES)
PAIR_FEATURES: tuple[str, ...] = (*(f"abs_{name}" for name in RESPONSE_FEATURES), "similarity")

# One sentence for every response feature, then for every pair feature. Log length in characters is `length_log_sum`.
FEATURE_NOTES: dict[str, str] = {
    **LENGTH_NOTES,
    **_STYLE_NOTES,
    **{f"abs_{name}": f"Absolute difference of {name} between the two responses." for name in RESPONSE_FEATURES},
    "similarity": "Words (with repeats) that the two responses share, over their mean number of words, 0 to 1.",
}

# Nobody sees these, and str.strip() leaves some: NUL, zero-width characters, byte order marks, variation selectors.
_INVISIBLE = " \t\r\n\f\v\0\u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\u3000\ufe0f\ufeff"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _beyond_latin(turns: Sequence[str]) -> float:
    """Share of characters beyond Latin-1: 0 for English, near 1 for Russian or Chinese."""
    beyond = sum(len(turn) - len(turn.encode("latin-1", "ignore")) for turn in turns if not turn.isascii())
    return _share(beyond, sum(map(len, turns)))


class _Prompt(NamedTuple):
    """What both responses to a prompt are measured by."""

    turns: int
    lengths: LengthSummary
    beyond_latin: float

    @staticmethod
    def of(prompt: Turns | None) -> _Prompt:
        turns = _texts(prompt)
        return _Prompt(len(turns), summarise(list(map(len, turns))), _beyond_latin(turns))


class _Response(NamedTuple):
    """A response's turns, the same in lower case, and the words of each: read once, counted for several features."""

    turns: list[str]
    lowered: list[str]
    words: list[list[str]]

    @staticmethod
    def of(response: Turns | None) -> _Response:
        turns = _texts(response)
        lowered = list(map(lower, turns))
        return _Response(turns, lowered, list(map(split_words, lowered)))

    def word_counts(self) -> Counter[str]:
        counts = Counter(self.words[0] if self.words else ())
        for words in self.words[1:]:
            counts.update(words)
        return counts


def _count_turn(turn: str, lowered: str, words: list[str], counts: Counter[str]) -> None:
    visible = turn.strip(_INVISIBLE)
    if not visible:
        counts["empty"] += 1
        return
    counts["unfinished"] += visible[-1].isalpha() or visible[-1] in ",，、"
    count_markup(turn, counts)
    counts["words"] += len(words)
    four_grams = max(0, len(words) - 3)
    counts["four_grams"] += four_grams
    counts["repeated_four_grams"] += four_grams - len(set(zip(words, words[1:], words[2:], words[3:], strict=False)))
    counts["refusal"] += refuses(lowered)
    counts["disclaimer"] += pleads_being_an_ai(lowered)
    counts["self_praise"] += praises_itself(lowered)
    counts["self_naming"] += names_itself(lowered)


_LOGGED = tuple(name.removeprefix("log_") for name in _STYLE_NOTES if name.startswith("log_"))


def _texts(turns: Turns | None) -> list[str]:
    if isinstance(turns, str):
        raise TypeError("expected a list of turns, found one string; write [text] for a single turn")
    return [turn or "" for turn in turns or ()]


def _features(prompt: _Prompt, response: _Response) -> list[float]:
    """In the order of `RESPONSE_FEATURES`."""
    counts: Counter[str] = Counter()
    for turn in zip(*response, strict=True):
        _count_turn(*turn, counts)
    turns = max(len(response.turns), 1)
    expected = max(prompt.turns, turns)
    return [
        *length_values(prompt.lengths, summarise(list(map(len, response.turns)))),
        *[log1p(counts[name]) for name in _LOGGED],
        counts["refusal"] / turns,
        counts["disclaimer"] / turns,
        counts["self_naming"] / turns,
        counts["self_praise"] / turns,
        (counts["empty"] + expected - len(response.turns)) / expected,
        counts["unfinished"] / turns,
        _share(counts["repeated_lines"], counts["prose_lines"]),
        _share(counts["repeated_four_grams"], counts["four_grams"]),
        abs(_beyond_latin(response.turns) - prompt.beyond_latin),
    ]


def response_features(prompt: Turns, response: Turns) -> Float32Array:
    """What can be counted about one response.

    Args:
        prompt: the user's turns; None is an empty turn.
        response: the model's turns; their number need not be the prompt's.

    Returns:
        float32 [len(RESPONSE_FEATURES)], finite, in the order of `RESPONSE_FEATURES`; `FEATURE_NOTES` gives the units.

    Raises:
        TypeError: a string in place of a list of turns.
    """
    return np.array(_features(_Prompt.of(prompt), _Response.of(response)), dtype=np.float32)


def similarity(response_a: Turns, response_b: Turns) -> float:
    """Share of words, repeats included, that two responses have in common: 2·|A ∩ B| / (|A| + |B|) of their multisets.

    Exactly symmetric, between 0 and 1, 1 for equal texts; case and order play no part. Where neither has a word
    (only punctuation) they are alike if their texts are equal.
    """
    return _similarity(_Response.of(response_a), _Response.of(response_b))


def _similarity(a: _Response, b: _Response) -> float:
    words_a, words_b = a.word_counts(), b.word_counts()
    total = words_a.total() + words_b.total()
    if total == 0:
        return float("\n".join(a.turns).strip(_INVISIBLE) == "\n".join(b.turns).strip(_INVISIBLE))
    return 2 * sum([min(words_a[word], words_b[word]) for word in words_a.keys() & words_b.keys()]) / total


@dataclass(frozen=True)
class StyleArrays:
    """Style of n battles, row by row.

    Attributes:
        a, b: float32 [n, len(RESPONSE_FEATURES)].
        similarity: float32 [n].
    """

    a: Float32Array
    b: Float32Array
    similarity: Float32Array

    @property
    def pair(self) -> Float32Array:
        """float32 [n, len(PAIR_FEATURES)]: what is the same seen from either side, in the order of `PAIR_FEATURES`."""
        return np.concatenate([np.abs(self.a - self.b), self.similarity[:, None]], axis=1)


_COLUMNS = ("prompt", "response_a", "response_b")
_CHUNK = 512
# Starting the workers takes longer than this many chunks.
_FEW_CHUNKS = 4


def style_of_texts(
    prompts: Iterable[Turns | None], responses_a: Iterable[Turns | None], responses_b: Iterable[Turns | None]
) -> StyleArrays:
    """Style features of texts in memory, each a list of turns, as many of each. Raises: TypeError for a string."""
    features_a, features_b, alike = [], [], []
    for prompt, response_a, response_b in zip(prompts, responses_a, responses_b, strict=True):
        asked, a, b = _Prompt.of(prompt), _Response.of(response_a), _Response.of(response_b)
        features_a.append(_features(asked, a))
        features_b.append(_features(asked, b))
        alike.append(_similarity(a, b))
    shape = (len(alike), len(RESPONSE_FEATURES))
    return StyleArrays(
        a=np.array(features_a, dtype=np.float32).reshape(shape),
        b=np.array(features_b, dtype=np.float32).reshape(shape),
        similarity=np.array(alike, dtype=np.float32),
    )


def style_arrays(battles: datasets.Dataset, *, num_proc: int | None = None, progress: bool = True) -> StyleArrays:
    """Style features of many battles, in their order.

    Args:
        battles: columns prompt, response_a, response_b, each a list of turns (`arena_data.schema.FEATURES`).
        num_proc: processes; None takes every core this process may use, and one where the battles are few.
        progress: whether to show a progress bar.

    Raises:
        InputError: a column is missing.
    """
    for column in _COLUMNS:
        if column not in battles.column_names:
            raise InputError("missing column", column=column, found=battles.column_names, expected="battles")
    # Half a second to import; a few texts in memory do without them.
    import joblib
    from tqdm.auto import tqdm

    starts = range(0, len(battles), _CHUNK)
    if num_proc is None:
        num_proc = joblib.cpu_count() if len(starts) > _FEW_CHUNKS else 1
    # joblib's workers are started afresh (safe with threads and GPUs) and never run the caller's script again.
    chunks = joblib.Parallel(n_jobs=num_proc, return_as="generator")(
        joblib.delayed(style_of_texts)(*map(battles[start : start + _CHUNK].get, _COLUMNS)) for start in starts
    )
    parts = [style_of_texts([], [], [])]
    with tqdm(total=len(battles), desc="style features", unit="battle", disable=not progress) as bar:
        for part in chunks:
            parts.append(part)
            bar.update(len(part.similarity))
    return StyleArrays(
        a=np.concatenate([part.a for part in parts]),
        b=np.concatenate([part.b for part in parts]),
        similarity=np.concatenate([part.similarity for part in parts]),
    )
