"""Guesses the language of a text by counting letters and common words.

Only what can be told without a model: the script a text is written in, and a handful of languages by their most common
words. A text with too few words has no language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import regex

from arena_data.style.words import lower, split_words

if TYPE_CHECKING:
    import datasets

_SCRIPTS = {
    "Japanese": r"[\p{Hiragana}\p{Katakana}]",
    "Korean": r"\p{Hangul}",
    "Chinese": r"\p{Han}",
    "Cyrillic script": r"\p{Cyrillic}",
    "Arabic script": r"\p{Arabic}",
    "Greek": r"\p{Greek}",
    "Hebrew": r"\p{Hebrew}",
    "Thai": r"\p{Thai}",
    "Devanagari script": r"\p{Devanagari}",
}
_LETTERS = {name: regex.compile(pattern) for name, pattern in _SCRIPTS.items()}
_COMMON = frozenset(re.findall(r"\w+", "the of and to a in is that for you it be this with are as on can or"))
_LEAST_COMMON = 0.12
_WORDS_READ = 100
_ANY_LETTER = regex.compile(r"\p{L}")
_READ = 300  # characters of each of prompt, A and B
_LEAST_SHARE = 0.2  # of the letters: code and names in Latin letters stand in texts of every language


def guess_language(text: str) -> str:
    """A language, a script, or "other" where no letter tells."""
    if not text.isascii():
        letters = len(_ANY_LETTER.findall(text)) or 1
        for name, pattern in _LETTERS.items():
            if len(pattern.findall(text)) >= _LEAST_SHARE * letters:
                return name
    if reads_as_english(text):
        return "English"
    return "other, Latin letters" if _ANY_LETTER.search(text) else "other"


def languages_of(battles: datasets.Dataset) -> tuple[list[str], bool]:
    """The language of each battle, and whether the file recorded any (otherwise all are guessed)."""
    recorded = battles["language"][:]
    if any(language is not None for language in recorded):
        return [language or "not recorded" for language in recorded], True
    return guessed_languages_of(battles), False


def guessed_languages_of(battles: datasets.Dataset) -> list[str]:
    """The language of each battle by its texts alone."""
    guessed = []
    for batch in battles.select_columns(["prompt", "response_a", "response_b"]).iter(batch_size=1024):
        guessed += guess_languages(batch["prompt"], batch["response_a"], batch["response_b"])
    return guessed


def guess_languages(*columns: Iterable[Sequence[str | None] | None]) -> list[str]:
    """The language of each battle. columns: prompts, responses A, responses B, each text a list of turns."""
    guessed = []
    for sides in zip(*columns, strict=True):
        texts = [" ".join((turn or "")[:_READ] for turn in (turns or [])[:4])[:_READ] for turns in sides]
        # In the order of the alphabet, so that exchanging A and B changes nothing.
        guessed.append(guess_language(" ".join([texts[0], *sorted(texts[1:])])))
    return guessed


def reads_as_english(text: str) -> bool:
    """Whether at least one in eight of the first 100 words is one of the commonest English ones; no for no words."""
    words = split_words(lower(text[: 20 * _WORDS_READ]))[:_WORDS_READ]
    return bool(words) and sum(word in _COMMON for word in words) >= _LEAST_COMMON * len(words)
