"""The classic cleaning of text before words are counted: lower case, stop words out, every word its lemma.

It is a step of many public notebooks, so it is here to be measured; docs/LEADERBOARD.md says what it is worth. Lemmas are
looked up in simplemma's English dictionary, stop words are scikit-learn's.
Source: https://github.com/adbar/simplemma; https://scikit-learn.org/stable/modules/feature_extraction.html#stop-words
"""

import functools

import simplemma
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from arena_data.style.words import lower, split_words


@functools.lru_cache(maxsize=200_000)
def lemma(word: str) -> str:
    """The dictionary form of an English word in lower case; a word that is not known is left as it is."""
    return simplemma.lemmatize(word, lang="en").lower()


def is_stop_word(word: str) -> bool:
    """Whether a word, or what stands before its apostrophe ("it" of "it's"), says nothing of the matter."""
    return word in ENGLISH_STOP_WORDS or word.partition("'")[0] in ENGLISH_STOP_WORDS


def clean(text: str) -> str:
    """The lemmas of a text, in order and one space apart, without stop words or punctuation."""
    return " ".join(lemma(word) for word in split_words(lower(text)) if not is_stop_word(word))
