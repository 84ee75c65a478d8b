"""Chat messages in, turns out: a list of user turns and the list of answers to them.

Releases store a side of a battle as messages of role and content; content is a text or a list of parts. A system text
belongs to what was asked, so it goes before the first user turn. Several answers in a row are one answer. Calls of tools
and their results belong to the answer.

Training, prediction, `RewardModel.trl_reward` and an export's chat template all read messages by `turns`. The template
says the same in Jinja, in `reward_model.publish.chat_template`: change both together.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from arena_data.reading.text_cells import parse_cell

USER, ASSISTANT = ("user", "human"), ("assistant", "model", "bot")
SYSTEM, TOOL = ("system", "developer"), ("tool", "function")
MESSAGES = "a list of messages with role and content"

# The layout of Anthropic's HH-RLHF, which most plain-text preference data copies.
DIALOGUE = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")


def content_text(content: Any) -> str | None:
    """The text of a message's content: as it is, or its text parts joined; other parts leave a mark such as `[image]`.

    Raises: ValueError for anything else.
    """
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, Sequence) or not all(isinstance(part, str | Mapping) for part in content):
        raise ValueError("content that is a text or a list of parts")
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif (kind := part.get("type") or "text") != "text":
            texts.append(f"[{kind}]")
    return "\n".join(texts)


def message_text(message: Mapping[str, Any]) -> str | None:
    """The text of a message: its content, then a line for each call of a tool. A tool's own message is marked as a result.

    Raises: ValueError for content or calls of another form.
    """
    text = content_text(message.get("content"))
    if calls := message.get("tool_calls"):
        if not isinstance(calls, Sequence) or not all(isinstance(call, Mapping) for call in calls):
            raise ValueError("tool_calls that are a list of objects")
        text = "\n".join([*([text] if text else []), *map(_call_text, calls)])
    return f"[tool result] {text or ''}" if message.get("role") in TOOL else text


def _call_text(call: Mapping[str, Any]) -> str:
    function = call.get("function") or call
    if not isinstance(function, Mapping):
        raise ValueError("a tool call whose function is an object")
    given = function.get("arguments") or {}
    arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return f"[tool call] {function.get('name') or ''} {arguments}"


def as_messages(value: Any) -> list[Mapping[str, Any]]:
    """A conversation column's cell, a list or its JSON text, as messages. Raises: ValueError for anything else."""
    if isinstance(value, str):
        try:
            value = parse_cell(value)
        except ValueError:
            raise ValueError(f"{MESSAGES}, or its JSON text") from None
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(m, Mapping) for m in value):
        raise ValueError(MESSAGES)
    return list(value)


def split_dialogue(text: str) -> list[dict[str, str]] | None:
    """Messages of a text laid out as `\\n\\nHuman: … \\n\\nAssistant: …`; None where it is not laid out so."""
    pieces = DIALOGUE.split(text)
    if len(pieces) < 3 or pieces[0].strip() or pieces[1] != "Human":
        return None
    roles, texts = pieces[1::2], pieces[2::2]
    return [
        {"role": "user" if role == "Human" else "assistant", "content": body.strip()}
        for role, body in zip(roles, texts, strict=True)
    ]


def turns(messages: Sequence[Mapping[str, Any]]) -> tuple[list[str | None], list[str | None]]:
    """User turns and the answers to them, equally long; a turn without an answer, or an answer without one, gets "".

    Raises: ValueError for a role that is none of user, assistant, system, tool.
    """
    system: list[str] = []
    asked: list[list[str | None]] = []
    answered: list[list[str | None]] = []
    for message in messages:
        role, text = message.get("role"), message_text(message)
        if role in SYSTEM:
            system.append(text or "")
        elif role in USER:
            if not asked or answered[-1]:
                asked.append([])
                answered.append([])
            asked[-1].append(text)
        elif role in ASSISTANT or role in TOOL:
            if not asked:
                asked.append([""])
                answered.append([])
            answered[-1].append(text)
        else:
            raise ValueError(f"a role of user, assistant, system or tool, not {role!r}")
    prompt, response = [_joined(texts) for texts in asked], [_joined(texts) for texts in answered]
    if system and any(system):
        prompt = [_joined([*system, *prompt[:1]]), *prompt[1:]]
        response = response or [""]
    return prompt, response


def _joined(texts: Sequence[str | None]) -> str | None:
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(text for text in texts if text)
