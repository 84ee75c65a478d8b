"""Text as it comes in, text that every later step can hold: what is odd is handled here, once, and named on the row.

Nothing is dropped. Each battle carries the names of what was odd about it (`oddities`), so a summary can be counted
from a cached dataset as well as from a fresh one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

# One turn, or the turns of a conversation, oldest first.
Text = str | Sequence[str | None]

ODDITIES = {
    "null_turn": "a turn was null; read as an empty text",
    "empty_prompt": "the prompt holds no text",
    "empty_response": "a response holds no text",
    "identical_responses": "both responses are the same text; the margin is 0",
    "unequal_turns": "prompt and responses have different numbers of turns; the missing ones are empty",
    "prompts_differ": "the two conversations hold different user turns; those of A were kept",
    "unparsed_json": "a cell that should be a JSON list did not parse; its raw text was read as one turn",
    "invalid_utf8": "bytes that are not UTF-8 were replaced by U+FFFD",
    "another_encoding": "the file is not in UTF-8; it was read as Latin-1 or Windows-1252",
    "lone_surrogate": "half of a surrogate pair was replaced by U+FFFD",
    "nul_byte": "NUL characters were removed",
    "byte_order_mark": "a byte order mark at the start of a text was removed",
    "carriage_return": "CRLF and CR line ends became LF",
}


def clean(text: str | None, oddities: set[str]) -> str:
    """The text with what no tokenizer or file format holds replaced; adds the names of what it found to `oddities`."""
    if text is None:
        oddities.add("null_turn")
        return ""
    if "\r" in text:
        oddities.add("carriage_return")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        oddities.add("nul_byte")
        text = text.replace("\0", "")
    if not text.isascii():
        if text[0] == "\ufeff":
            oddities.add("byte_order_mark")
            text = text.lstrip("\ufeff")
        try:
            text.encode()
        except UnicodeEncodeError:
            oddities.add("lone_surrogate")
            # UTF-16 joins the halves that do belong together.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_turns(turns: Sequence[str | None], oddities: set[str]) -> list[str]:
    """At least one turn, each cleaned."""
    return [clean(turn, oddities) for turn in turns] if turns else [clean(None, oddities)]


def clean_texts(texts: Sequence[Text]) -> list[list[str]]:
    """The turns of each text, cleaned."""
    return [clean_turns([text] if isinstance(text, str) else text, set()) for text in texts]


def is_blank(turns: Sequence[str]) -> bool:
    return all(not turn or turn.isspace() for turn in turns)


def oddity_lines(oddities: Iterable[Sequence[str]]) -> list[str]:
    """One line a kind of oddity, most frequent first: `17 battles: a turn was null; read as an empty text`."""
    return counted_oddity_lines(Counter(name for names in oddities for name in names))


def counted_oddity_lines(counts: Mapping[str, int]) -> list[str]:
    """The same of how many battles had each kind."""
    return [
        f"{count:,} battle{'' if count == 1 else 's'}: {ODDITIES[name]}"
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
