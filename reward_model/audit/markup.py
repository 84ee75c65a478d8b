"""The same text with and without lists, bold and headings: what is said stays, only its dress changes.

Taking away drops the markers and leaves every line where it is. Putting on needs a text that bears it (several
sentences, several paragraphs); one that does not comes back as it was. Code blocks are never touched, nor are lines
that already have markup put on once more. All functions are text to text, deterministic, and take linear time.

What counts as a list, as bold, as a heading is what `arena_data.style.features` counts.
"""

import re
from collections.abc import Callable

# A block left open runs to the end, as every renderer shows it.
_CODE = re.compile(r"(^[ \t]*(```|~~~)[^\n]*(?:\n(?![ \t]*\2)[^\n]*)*(?:\n[ \t]*\2[^\n]*)?)", re.MULTILINE)
_ITEM = re.compile(r"^([ \t]*)(?:[-*+•‣◦▪●○–·・][ \t]+|\d{1,3}[.)][ \t]+)(?=\S)", re.MULTILINE)
_HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+", re.MULTILINE)
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]++)\*\*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[ \t]+(?=[^\W\d_])|(?<=[。！？])")
_MARKED = re.compile(r"^[ \t]*(?:[-*+•‣◦▪●○–·・#>|`]|\d{1,3}[.)])|\*\*", re.MULTILINE)
_PARAGRAPHS = re.compile(r"(\n[ \t]*\n)")

_LEAST_SENTENCES = 3
_BOLD_WORDS = 3


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with `change` applied to what stands outside code blocks, piece by piece."""
    pieces, start = [], 0
    for block in _CODE.finditer(text):
        pieces += [change(text[start : block.start()]), block[0]]
        start = block.end()
    return "".join([*pieces, change(text[start:])])


def _by_paragraph(text: str, change: Callable[[str], str]) -> str:
    """As `_outside_code`, one paragraph at a time; those that are empty or have markup at hand stay."""

    def each(prose: str) -> str:
        parts = _PARAGRAPHS.split(prose)
        return "".join(part if not part.strip() or _MARKED.search(part) else change(part) for part in parts)

    return _outside_code(text, each)


def without_lists(text: str) -> str:
    """Bullets and numbers before list items are gone, the items stay as lines."""
    return _outside_code(text, lambda prose: _ITEM.sub(r"\1", prose))


def without_bold(text: str) -> str:
    """Asterisks of bold passages are gone, the words stay."""
    return _outside_code(text, lambda prose: _BOLD.sub(r"\1", prose))


def without_headings(text: str) -> str:
    """Number signs before headings are gone, the headings stay as lines."""
    return _outside_code(text, lambda prose: _HEADING.sub("", prose))


def with_lists(text: str) -> str:
    """Each paragraph of three sentences or more becomes a list of its sentences."""

    def listed(paragraph: str) -> str:
        sentences = [sentence for sentence in _SENTENCE_END.split(paragraph.strip("\n")) if sentence.strip()]
        if len(sentences) < _LEAST_SENTENCES:
            return paragraph
        head = paragraph[: len(paragraph) - len(paragraph.lstrip("\n"))]
        tail = paragraph[len(paragraph.rstrip("\n")) :]
        return head + "\n".join(f"- {sentence.strip()}" for sentence in sentences) + tail

    return _by_paragraph(text, listed)


def with_bold(text: str) -> str:
    """The first three words of each paragraph of more words become bold."""
    words = re.compile(rf"(\s*)(\S+(?:[ \t]+\S+){{{_BOLD_WORDS - 1}}})(?=[ \t]+\S)")
    return _by_paragraph(text, lambda paragraph: words.sub(r"\1**\2**", paragraph, count=1))


def with_headings(text: str) -> str:
    """A heading stands over the text, and another over its second paragraph where it has several."""
    if not text.strip() or _HEADING.search(text):
        return text
    first, gap, rest = text.partition("\n\n")
    if not rest.strip() or _CODE.search(first):
        return f"## Answer\n\n{text}"
    return f"## Answer\n\n{first}{gap}## Details\n\n{rest}"
