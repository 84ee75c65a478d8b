"""What a model reads: a battle's side as chat messages, or as plain text where a tokenizer has no chat template.

`separate` reads one side as the conversation it was: user, assistant, user, assistant. `joint` reads both sides in one
user message with three sections: the user's turns, response A's, response B's; A and B go through the same code.
Joint turns are labelled by their distance from the latest, so a label stays true when truncation drops older turns.

A line of the text that reads like one of our headings is quoted with a backslash (and so is a line that is already
quoted), so no response can pose as another turn and no two conversations become the same text. Special tokens spelled
out in the text are the tokenizer's business: chat templates do not escape them.

Nothing here imports a model library: a tokenizer is anything with the few members of `Tokenizer`. Chat templates:
https://huggingface.co/docs/transformers/chat_templating
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

TRANSCRIPT_VERSION = 1

Turns = Sequence[str | None]
Message = dict[str, str]

_SPEAKERS = {"user": "User:", "assistant": "Assistant:"}
# Written before a line that would read as a heading; in a replacement pattern this is one backslash.
_QUOTE = r"\\"
_PLAIN_HEADING = re.compile(r"^(?=\\*(?:User|Assistant):$)", re.MULTILINE)
_JOINT_HEADING = re.compile(
    r"^(?=\\*(?:# User|# Response [AB]|# Better response: A, B or tie\?|## latest turn|## \d+ turns? earlier)$)",
    re.MULTILINE,
)


class Tokenizer(Protocol):
    """The members of a Transformers fast tokenizer that are used here."""

    chat_template: Any

    def __call__(self, text: Any, *, add_special_tokens: bool = ..., **kwargs: Any) -> Any: ...

    def apply_chat_template(self, conversation: Any, *, tokenize: bool = ..., **kwargs: Any) -> Any: ...


def clean(text: str | None) -> str:
    """The text as a tokenizer can take it: None is "", surrogate pairs are joined, a lone surrogate becomes U+FFFD."""
    if text is None:
        return ""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def paired(prompt: Turns, response: Turns) -> tuple[list[str], list[str]]:
    """Both lists cleaned and filled up with "" to the same length, at least one turn: no surplus turn is lost."""
    turns = max(len(prompt), len(response), 1)
    user = [clean(text) for text in prompt] + [""] * (turns - len(prompt))
    assistant = [clean(text) for text in response] + [""] * (turns - len(response))
    return user, assistant


def conversation(prompt: Turns, response: Turns) -> list[Message]:
    """One side of a battle as alternating messages, user first, assistant last.

    Args:
        prompt, response: turns, oldest first; None and missing turns become "".
    Returns: an even number of messages, at least two, each {"role": ..., "content": ...}.
    """
    return [
        message
        for user, assistant in zip(*paired(prompt, response), strict=True)
        for message in ({"role": "user", "content": user}, {"role": "assistant", "content": assistant})
    ]


def plain_text(messages: Sequence[Message]) -> str:
    """Messages as "User:\\n...\\n\\nAssistant:\\n...", the last one at the end; different messages give different text.

    Raises: KeyError for a role other than user and assistant.
    """
    return "\n\n".join(
        f"{_SPEAKERS[message['role']]}\n{_PLAIN_HEADING.sub(_QUOTE, message['content'])}" for message in messages
    )


def joint_text(prompt: Turns, response_a: Turns, response_b: Turns) -> str:
    """Prompt and both responses in one text with a section each, the question last; A and B are treated alike.

    An empty list reads as one empty turn. Lists of unequal length are each labelled from their own latest turn.
    """
    sections = {"User": prompt, "Response A": response_a, "Response B": response_b}
    parts = [f"# {title}\n{_section(turns)}" for title, turns in sections.items()]
    return "\n\n".join([*parts, "# Better response: A, B or tie?"])


def joint_messages(prompt: Turns, response_a: Turns, response_b: Turns) -> list[Message]:
    """`joint_text` as one user message, for a chat template."""
    return [{"role": "user", "content": joint_text(prompt, response_a, response_b)}]


def render(tokenizer: Tokenizer, prompt: Turns, response: Turns) -> str:
    """One side as the text to tokenise with `token_ids`: by the chat template, or plain where there is none."""
    messages = conversation(prompt, response)
    return _by_template(tokenizer, messages) if _has_template(tokenizer) else plain_text(messages)


def render_joint(tokenizer: Tokenizer, prompt: Turns, response_a: Turns, response_b: Turns) -> str:
    """Both sides as the text to tokenise with `token_ids`: by the chat template, or plain where there is none."""
    if _has_template(tokenizer):
        return _by_template(tokenizer, joint_messages(prompt, response_a, response_b))
    return joint_text(prompt, response_a, response_b)


def adds_special_tokens(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer must add its special tokens to a rendered text; a chat template has written its own."""
    return not _has_template(tokenizer)


def token_ids(tokenizer: Tokenizer, rendered: str) -> list[int]:
    """Token ids of a rendered text, special tokens included, never cut."""
    encoded = tokenizer(
        rendered,
        add_special_tokens=adds_special_tokens(tokenizer),
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return list(encoded["input_ids"])


def _section(turns: Turns) -> str:
    texts = [_JOINT_HEADING.sub(_QUOTE, clean(text)) for text in turns] or [""]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"## {_distance(len(texts) - 1 - i)}\n{text}" for i, text in enumerate(texts))


def _distance(turns: int) -> str:
    return "latest turn" if turns == 0 else f"{turns} turn{'s' if turns > 1 else ''} earlier"


def _has_template(tokenizer: Tokenizer) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def _by_template(tokenizer: Tokenizer, messages: list[Message]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False))
