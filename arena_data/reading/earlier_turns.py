"""What was said before a row's prompt, where a release keeps it in a column of its own: `context`, `history`.

It is read as messages of role and content, as pairs of a user's turn and its answer, or as texts in turn, the user first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from arena_data.reading.conversations import USER, as_messages, split_dialogue, turns
from arena_data.reading.text_cells import parse_cell

COLUMNS = ("context", "history", "conversation")
EARLIER = "messages of role and content, or pairs of a turn and its answer"

Messages = list[Mapping[str, Any]]
Turns = list[str | None]


def earlier_messages(value: Any) -> Messages:
    """The messages of a cell; none where it is empty.

    Raises: ValueError for a text, whose speaker nobody can tell, and for anything else.
    """
    if isinstance(value, str) and value.strip():
        if value.lstrip()[:1] not in "[{":
            dialogue = split_dialogue(value)
            if dialogue is None:
                raise ValueError(f"{EARLIER}; rename the column if it holds something else")
            return list(dialogue)
        try:
            value = parse_cell(value)
        except ValueError:
            raise ValueError(EARLIER) from None
    if not value or (isinstance(value, str) and not value.strip()):
        return []
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(EARLIER)
    if all(isinstance(part, Mapping) for part in value):
        return as_messages(value)
    if all(isinstance(part, Sequence) and not isinstance(part, str) and len(part) == 2 for part in value):
        value = [text for pair in value for text in pair]
    if len(value) % 2 or not all(text is None or isinstance(text, str) for text in value):
        raise ValueError(EARLIER)
    roles = ("user", "assistant") * (len(value) // 2)
    return [{"role": role, "content": text} for role, text in zip(roles, value, strict=True)]


def with_earlier(earlier: Messages, messages: Messages) -> Messages:
    """Both in order, what they have in common once: messages may repeat the earlier ones, or those end with the prompt."""
    if messages[: len(earlier)] == earlier:
        return messages
    return [*(earlier[:-1] if earlier[-1:] == messages[:1] else earlier), *messages]


def prepend(earlier: Messages, prompt: Turns, *responses: Turns) -> list[Turns]:
    """The turns of a prompt and its responses with the earlier ones before them.

    Raises: ValueError where the earlier ones end with a user's turn, whose answer would be missing.
    """
    if not earlier:
        return [prompt, *responses]
    asked, answered = turns(earlier)
    count = len(asked)
    if prompt[:count] == asked and count < len(prompt) and all(side[:count] == answered for side in responses):
        return [prompt, *responses]  # They are there already.
    if len(prompt) == 1 and earlier[-1].get("role") in USER and prompt == asked[-1:]:
        asked, answered = asked[:-1], answered[:-1]
    elif earlier[-1].get("role") in USER:
        raise ValueError("earlier turns that end with an answer")
    return [[*asked, *prompt], *([*answered, *response] for response in responses)]
