"""The forms in which a client may send a text: a string, turns, or messages of role and content."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from arena_data.reading.conversations import as_messages, turns
from arena_data.reading.in_memory import Text
from reward_model.serve.limits import bad_request

Messages = Annotated[list[dict[str, Any]], Field(min_length=1)]
Turns = Annotated[list[str], Field(min_length=1)]
SentText = str | Turns | Messages


class Strict(BaseModel):
    """A request or answer: no field that is not known, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def conversation(prompt: SentText, response: SentText) -> tuple[Text, Text]:
    """Prompt and response as `RewardModel` takes them; messages are read as in training.

    Raises: Refusal for messages of another form, and for messages beside a list of turns.
    """
    if not _is_messages(prompt) and not _is_messages(response):
        return _plain(prompt), _plain(response)
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    answered = [{"role": "assistant", "content": response}] if isinstance(response, str) else response
    return from_messages([*asked, *answered])


def from_messages(messages: Any) -> tuple[Text, Text]:
    """Turns of the user and of the assistant. Raises: Refusal, one line."""
    try:
        prompt, response = turns(as_messages(messages))
    except ValueError as error:
        raise bad_request(f"expected {error}") from None
    if not prompt:
        raise bad_request("the conversation has no message of a user or an assistant")
    return prompt, response


def _is_messages(text: SentText) -> bool:
    return not isinstance(text, str) and any(isinstance(part, Mapping) for part in text)


def _plain(text: Any) -> Text:
    plain: Text = text
    return plain
