"""TRL's preference data as battles: `chosen` beat `rejected`, and a hash of the content says which of them is A.

Sides are assigned by the content alone, without regard to which of the two was chosen, so the verdict cannot be read
off the position and is the same on every machine. Layouts: https://huggingface.co/docs/trl/dataset_formats#preference
(explicit or implicit prompt, plain text or messages).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from arena_data.reading.conversations import as_messages, split_dialogue, turns

Turns = list[str | None]


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.lstrip().startswith('[{"'))


def sides(prompt: Any, chosen: Any, rejected: Any) -> tuple[Turns, Turns, Turns, Turns]:
    """Prompt and response turns of the chosen side, then those of the rejected side.

    `prompt` is None where it is implicit, that is contained in both answers.

    Raises: ValueError, saying what was expected, for anything that is neither text nor messages.
    """
    if _is_text(chosen) and _is_text(rejected):
        if prompt is None:
            prompt, chosen, rejected = _implicit(chosen or "", rejected or "")
        elif _is_text(prompt):
            dialogue = split_dialogue(prompt)
            # Even where the prompt is given, HH-style data repeats it in both answers. Other prompts are left alone:
            # an answer to "Hi" may well begin with "Hi".
            if dialogue and all((answer or "").startswith(prompt) for answer in (chosen, rejected)):
                chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
            prompt = dialogue or [{"role": "user", "content": prompt}]
        history = as_messages(prompt)
        if history and history[-1].get("role") == "assistant" and not history[-1].get("content"):
            history = history[:-1]
        return *_answered(history, chosen), *_answered(history, rejected)
    history = _history(prompt)
    return *_conversation(history, chosen), *_conversation(history, rejected)


def _history(prompt: Any) -> list[Mapping[str, Any]]:
    if prompt is None:
        return []
    return [{"role": "user", "content": prompt}] if _is_text(prompt) else as_messages(prompt)


def _answered(history: list[Mapping[str, Any]], answer: str | None) -> tuple[Turns, Turns]:
    return turns([*history, {"role": "assistant", "content": answer}])


def _conversation(history: list[Mapping[str, Any]], answer: Any) -> tuple[Turns, Turns]:
    if _is_text(answer):
        return _answered(history, answer)
    messages = as_messages(answer)
    # Some sets repeat the whole conversation in each answer beside a prompt of its own.
    whole = any(message.get("role") in ("user", "human") for message in messages)
    return turns(messages if whole else [*history, *messages])


def _implicit(chosen: str, rejected: str) -> tuple[list[Mapping[str, Any]], str, str]:
    """The prompt that both texts begin with, and what is left of each."""
    dialogues = split_dialogue(chosen), split_dialogue(rejected)
    if dialogues[0] and dialogues[1]:
        shared = 0
        limit = min(len(dialogues[0]), len(dialogues[1])) - 1
        while shared < limit and dialogues[0][shared] == dialogues[1][shared]:
            shared += 1
        if shared == limit and len(dialogues[0]) == len(dialogues[1]):
            return list(dialogues[0][:shared]), dialogues[0][-1]["content"], dialogues[1][-1]["content"]
    # As TRL's `extract_prompt`: up to the first difference, and a space before it belongs to the answers.
    length = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
    if length is None:
        length = min(len(chosen), len(rejected))
    if chosen == rejected:
        length = 0
    elif length and chosen[length - 1] == " ":
        length -= 1
    return [{"role": "user", "content": chosen[:length]}], chosen[length:], rejected[length:]


def chosen_is_a(prompt: Turns, chosen: Turns, rejected: Turns) -> bool:
    """Whether the chosen side is A: one bit of a hash that is the same when chosen and rejected change places."""
    first, second = sorted([repr(chosen), repr(rejected)])
    bit = (
        hashlib.blake2b("\0".join([repr(prompt), first, second]).encode("utf-8", "replace"), digest_size=1).digest()[0]
        & 1
    )
    return (repr(chosen) == first) == bool(bit)
