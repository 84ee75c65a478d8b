"""Texts that a chat template has joined, taken apart again: the markup of ChatML, Llama 3 and Gemma, and our own export's.

A trainer sends what its policy read: one text with the policy's markup. The judge learned from plain texts, so the markup
must go. A text is parsed by its marks alone, so a user who types such marks can move them: clients that can send messages
should.

Source: https://huggingface.co/docs/transformers/chat_templating.
"""

import re
from typing import Any

from arena_data.reading.conversations import split_dialogue

_ROLE = "(system|developer|user|assistant|model|tool)"
# The opening of a message, with its role, and what ends it.
_MARKUPS = (
    (re.compile(rf"<\|im_start\|>{_ROLE}\n"), re.compile(r"<\|im_end\|>\s*$")),
    (re.compile(rf"<\|start_header_id\|>{_ROLE}<\|end_header_id\|>\n\n"), re.compile(r"<\|eot_id\|>\s*$")),
    (re.compile(rf"<start_of_turn>{_ROLE}\n"), re.compile(r"<end_of_turn>\s*$")),
)
_PLAIN = re.compile(r"(?:^|\n\n)(User|Assistant):\n")
_QUOTED = re.compile(r"^\\(\\*(?:User|Assistant):)$", re.MULTILINE)
_FIRST = re.compile(r"^\s*(?:<s>|<bos>|<\|begin_of_text\|>|\[CLS\])\s*")
_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[SEP]")
_MARK = f"(?:{'|'.join(map(re.escape, _ENDS))})"
_LAST = re.compile(rf"{_MARK}(?:\s*{_MARK})*\s*$")


def messages_of(text: str) -> list[dict[str, Any]] | None:
    """The messages of a templated text; None where no known markup opens it. An assistant's empty last message is left out.

    A template's opening for the answer (`<|im_start|>assistant\\n`) is such a message.
    """
    messages: list[dict[str, Any]] | None
    for opening, ending in _MARKUPS:
        if opening.search(text):
            messages = _split(text, opening, ending)
            break
    else:
        messages = _split_plain(without_end(_FIRST.sub("", text)))
    if messages and messages[-1]["role"] == "assistant" and not messages[-1]["content"]:
        messages.pop()
    return messages


def without_end(text: str) -> str:
    """A generated text without the marks that end it."""
    return _LAST.sub("", text)


def _split(text: str, opening: re.Pattern[str], ending: re.Pattern[str]) -> list[dict[str, Any]]:
    _, *pieces = opening.split(text)
    *before, last = pieces[1::2]
    texts = [*(ending.sub("", body) for body in before), without_end(last)]
    roles = ["assistant" if role == "model" else role for role in pieces[::2]]
    return [{"role": role, "content": body} for role, body in zip(roles, texts, strict=True)]


def _split_plain(text: str) -> list[dict[str, Any]] | None:
    """Our own transcript (`arena_data.transcripts.rendering.plain_text`), or one in the layout of HH-RLHF."""
    first, *pieces = _PLAIN.split(text)
    if not first and pieces and pieces[0] == "User":
        bodies = [_QUOTED.sub(r"\1", body) for body in pieces[1::2]]
        return [{"role": role.lower(), "content": body} for role, body in zip(pieces[::2], bodies, strict=True)]
    return split_dialogue(text)
