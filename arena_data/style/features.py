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

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from arena_data.errors import InputError
from arena_data.style.lengths import LENGTH_FEATURES, LENGTH_NOTES, length_features
from arena_data.style.phrases import names_itself, pleads_being_an_ai, praises_itself, refuses
from arena_data.style.words import EMOJI, lower, split_words

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

# Markup.
_BULLETS = frozenset("-*+•‣◦▪●○–·・")
_TIGHT_BULLETS = frozenset("•▪●・")
_NUMBERED = re.compile(
    r"[(（]?(?:\d{1,3}(?:[.)](?=[\s*_])|[、．）])|[a-zA-Z]\)(?=\s)|[一二三四五六七八九十]{1,3}[、．.)）])|[①-⑳]"
)
_HEADING = re.compile(r"#{1,6}[ \t]")
_BOLD = re.compile(r"\*\*(?=\S)[^*\n]++\*\*|<(?:b|strong)>", re.IGNORECASE)
_INLINE_CODE = re.compile(r"(`++)[^`\n]++\1")
_QUESTIONS = "?？؟՞⁇"
_EXCLAMATIONS = "!！‼"
# Nobody sees these, and str.strip() leaves some: NUL, zero-width characters, byte order marks, variation selectors.
_INVISIBLE = " \t\r\n\f\v\0\u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\u3000\ufe0f\ufeff"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _beyond_latin(turns: Sequence[str]) -> float:
    """Share of characters beyond Latin-1: 0 for English, near 1 for Russian or Chinese."""
    beyond = sum(len(turn) - len(turn.encode("latin-1", "ignore")) for turn in turns if not turn.isascii())
    return _share(beyond, sum(map(len, turns)))


def _count_lines(turn: str, counts: Counter[str]) -> str:
    """Count what a line's beginning tells into `counts`; return the text outside code blocks."""
    prose: list[str] = []
    fence = ""
    for line in turn.splitlines():
        line = line.strip()
        if not line:
            continue
        counts["lines"] += 1
        marker = line[:3]
        if marker in ("```", "~~~") and fence in ("", marker):
            counts["code_blocks"] += not fence
            # A fence that closes on its own line (```x = 1```) leaves nothing open.
            fence = "" if fence or marker in line[3:] else marker
        elif fence:
            counts["code_lines"] += 1
        else:
            prose.append(line)
            first, second = line[0], line[1:2]
            if first in _BULLETS and (second.isspace() or (second and first in _TIGHT_BULLETS)):
                counts["bullets"] += 1
            elif first == "#":
                counts["headings"] += _HEADING.match(line) is not None
            elif "|" in line and "-" in line and not line.strip("|-: \t"):
                # Every table has one row of dashes, under its header.
                counts["tables"] += 1
            else:
                counts["numbered"] += _NUMBERED.match(line) is not None
    counts["prose_lines"] += len(prose)
    counts["repeated_lines"] += len(prose) - len(set(prose))
    return "\n".join(prose)


def _count_turn(turn: str, counts: Counter[str]) -> None:
    visible = turn.strip(_INVISIBLE)
    if not visible:
        counts["empty"] += 1
        return
    counts["unfinished"] += visible[-1].isalpha() or visible[-1] in ",，、"
    prose = _count_lines(turn, counts)
    counts["bold"] += sum(1 for _ in _BOLD.finditer(prose)) if "**" in prose or "<" in prose else 0
    counts["inline_code"] += sum(1 for _ in _INLINE_CODE.finditer(prose)) if "`" in prose else 0
    counts["questions"] += sum(map(prose.count, _QUESTIONS))
    counts["exclamations"] += sum(map(prose.count, _EXCLAMATIONS))
    counts["emoji"] += 0 if turn.isascii() else sum(1 for _ in EMOJI.finditer(turn))

    lowered = lower(turn)
    words = split_words(lowered)
    counts["words"] += len(words)
    four_grams = max(0, len(words) - 3)
    counts["four_grams"] += four_grams
    counts["repeated_four_grams"] += four_grams - len(set(zip(words, words[1:], words[2:], words[3:], strict=False)))
    counts["refusal"] += refuses(lowered)
    counts["disclaimer"] += pleads_being_an_ai(lowered)
    counts["self_praise"] += praises_itself(lowered)
    counts["self_naming"] += names_itself(lowered)


_TURN_SHARES = ("refusal", "disclaimer", "self_naming", "self_praise", "unfinished")


def _texts(turns: Turns | None) -> list[str]:
    if isinstance(turns, str):
        raise TypeError("expected a list of turns, found one string; write [text] for a single turn")
    return [turn or "" for turn in turns or ()]


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
    asked, answered = _texts(prompt), _texts(response)
    counts: Counter[str] = Counter()
    for turn in answered:
        _count_turn(turn, counts)
    turns = max(len(answered), 1)
    expected = max(len(asked), turns)
    features = length_features(asked, answered)
    features |= {name: log1p(counts[name.removeprefix("log_")]) for name in _STYLE_NOTES if name.startswith("log_")}
    features |= {name: counts[name] / turns for name in _TURN_SHARES}
    features["empty"] = (counts["empty"] + expected - len(answered)) / expected
    features["repeated_lines"] = _share(counts["repeated_lines"], counts["prose_lines"])
    features["repeated_four_grams"] = _share(counts["repeated_four_grams"], counts["four_grams"])
    features["other_script"] = abs(_beyond_latin(answered) - _beyond_latin(asked))
    return np.array([features[name] for name in RESPONSE_FEATURES], dtype=np.float32)


def similarity(response_a: Turns, response_b: Turns) -> float:
    """Share of words, repeats included, that two responses have in common: 2·|A ∩ B| / (|A| + |B|) of their multisets.

    Exactly symmetric, between 0 and 1, 1 for equal texts; case and order play no part. Where neither has a word
    (only punctuation) they are alike if their texts are equal.
    """
    texts_a, texts_b = _texts(response_a), _texts(response_b)
    words_a = Counter(word for turn in texts_a for word in split_words(lower(turn)))
    words_b = Counter(word for turn in texts_b for word in split_words(lower(turn)))
    total = words_a.total() + words_b.total()
    if total == 0:
        return float("\n".join(texts_a).strip(_INVISIBLE) == "\n".join(texts_b).strip(_INVISIBLE))
    smaller, larger = sorted((words_a, words_b), key=len)
    return 2 * sum(min(count, larger[word]) for word, count in smaller.items() if word in larger) / total


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


def _style_of_chunk(prompt: list[Any], response_a: list[Any], response_b: list[Any]) -> StyleArrays:
    shape = (len(prompt), len(RESPONSE_FEATURES))
    features_a = [response_features(*turns) for turns in zip(prompt, response_a, strict=True)]
    features_b = [response_features(*turns) for turns in zip(prompt, response_b, strict=True)]
    alike = [similarity(*turns) for turns in zip(response_a, response_b, strict=True)]
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
    starts = range(0, len(battles), _CHUNK)
    if num_proc is None:
        num_proc = joblib.cpu_count() if len(starts) > _FEW_CHUNKS else 1
    # joblib's workers are started afresh (safe with threads and GPUs) and never run the caller's script again.
    chunks = joblib.Parallel(n_jobs=num_proc, return_as="generator")(
        joblib.delayed(_style_of_chunk)(*map(battles[start : start + _CHUNK].get, _COLUMNS)) for start in starts
    )
    parts = [_style_of_chunk([], [], [])]
    with tqdm(total=len(battles), desc="style features", unit="battle", disable=not progress) as bar:
        for part in chunks:
            parts.append(part)
            bar.update(len(part.similarity))
    return StyleArrays(
        a=np.concatenate([part.a for part in parts]),
        b=np.concatenate([part.b for part in parts]),
        similarity=np.concatenate([part.similarity for part in parts]),
    )
