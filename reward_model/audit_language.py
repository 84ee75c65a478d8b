"""The language of a battle, and whether the model treats languages as people do.

The file's own word for the language is taken where it has one. Where it has none (the Kaggle sets), the script that most
letters of the conversation are written in says it, and the commonest English words tell English from other languages
written in Latin letters. That is rough, but it needs no model and is never far off for a group as a whole.
"""

from collections import Counter
from typing import Any

import datasets
import numpy as np
import regex

from arena_data.counterfactuals import reads_as_english
from reward_model.audit_observed import LEAST_BATTLES, compare_means, compare_slopes, win_share
from reward_model.resampling import Resampling

Figures = dict[str, Any]

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
_ANY_LETTER = regex.compile(r"\p{L}")
_READ = 300  # characters of each of prompt, A and B
_LEAST_SHARE = 0.2  # of the letters: code and names in Latin letters stand in texts of every language
SHOWN = 8


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
    guessed = []
    for batch in battles.select_columns(["prompt", "response_a", "response_b"]).iter(batch_size=1024):
        for sides in zip(batch["prompt"], batch["response_a"], batch["response_b"], strict=True):
            texts = [" ".join((turn or "")[:_READ] for turn in (turns or [])[:4])[:_READ] for turns in sides]
            guessed.append(guess_language(" ".join(texts)))
    return guessed, False


def describe_languages(
    languages: list[str], drawn: Resampling, model: np.ndarray, people: np.ndarray, doublings: np.ndarray
) -> list[Figures]:
    """Ties and the pull of length, by language, most frequent first; those of few battles together.

    model, people: float [n, 3], probabilities and verdicts.
    """
    names = np.array(languages, dtype=object)
    counts = sorted(Counter(languages).items(), key=lambda item: (-item[1], item[0]))
    shown = [name for name, count in counts[:SHOWN] if count >= LEAST_BATTLES]
    groups = [(name, names == name) for name in shown]
    if rest := [name for name, _ in counts if name not in shown]:
        groups.append((rest[0] if len(rest) == 1 else f"{len(rest)} others", ~np.isin(names, shown)))
    model_share, people_share = (win_share(three) - 0.5 for three in (model, people))
    return [
        {
            "language": name,
            "battles": int(inside.sum()),
            "tie": compare_means(drawn, model[:, 2], people[:, 2], inside),
            "per_doubling": compare_slopes(drawn, model_share, people_share, np.where(inside, doublings, 0.0)),
        }
        for name, inside in groups
    ]
