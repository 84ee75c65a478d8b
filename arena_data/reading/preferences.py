"""TRL's preference data as battles: `chosen` beat `rejected`, and a hash of the content says which of them is A.

Sides are assigned by the content alone, without regard to which of the two was chosen, so the verdict cannot be read
off the position and is the same on every machine. Layouts: https://huggingface.co/docs/trl/dataset_formats#preference
(explicit or implicit prompt, plain text or messages).
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from arena_data.reading.conversations import as_messages, split_dialogue, turns
from arena_data.reading.earlier_turns import with_earlier
from arena_data.reading.text_cells import is_turns
from arena_data.reading.verdicts import TIE, Verdict

Turns = list[str | None]


# How a text that is a list of messages opens: as JSON, as Python writes it, or as numpy does.
MESSAGES_OPEN = ('[{"', "[{'", "array([{")
# The names under which sets keep what a judge gave the two answers.
SCORES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"),
)
# RewardBench 2's columns that say how many of a row's answers are right.
REWARD_BENCH = {"num_correct", "num_incorrect", "total_completions"}


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.lstrip().startswith(MESSAGES_OPEN))


def one_answer(chosen: Any, rejected: Any, names: Collection[str]) -> tuple[Any, Any]:
    """Both answers; one that is a list of a single text is that text.

    Args:
        names: of the file's columns, by which a benchmark is known.

    Raises: ValueError, naming the benchmark it looks like, where a side holds several answers.
    """
    sizes = [len(side) if is_turns(side) else None for side in (chosen, rejected)]
    if None in sizes:
        return chosen, rejected
    if sizes == [1, 1]:
        return chosen[0], rejected[0]
    other = "RM-Bench" if sizes == [3, 3] else "a benchmark"
    benchmark = "RewardBench 2" if REWARD_BENCH & set(names) else other
    raise ValueError(
        f"one chosen and one rejected answer; this looks like {benchmark}, {sizes[0]} chosen and {sizes[1]} rejected: "
        "make each pair of a chosen and a rejected answer a row of its own"
    )


def outcome(verdict: Verdict | None, scores: tuple[Any, Any] | None) -> bool:
    """Whether the chosen answer won; otherwise it is a tie.

    Args:
        verdict: what the row's columns of verdicts say, if there are any; which of A and B was chosen is not known here.
        scores: of the chosen and the rejected answer; they count where there is no verdict.

    Raises: ValueError where the rejected answer has the higher score, or several votes were cast.
    """
    if verdict is not None:
        if max(verdict) < 1:
            raise ValueError(
                "a verdict of one vote beside chosen and rejected; write response_a and response_b instead"
            )
        return verdict != TIE
    values = [_score(score) for score in scores or ()]
    if None in values or not values:
        return True
    chosen, rejected = values
    if chosen < rejected:  # type: ignore[operator]
        raise ValueError("a higher score for the chosen answer than for the rejected one")
    return chosen != rejected


def _score(value: Any) -> float | None:
    """Null where there is none. Raises: ValueError for what is no number."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("scores that are numbers") from None
    return None if number != number else number


def sides(
    prompt: Any, chosen: Any, rejected: Any, earlier: Sequence[Mapping[str, Any]] = ()
) -> tuple[Turns, Turns, Turns, Turns]:
    """Prompt and response turns of the chosen side, then those of the rejected side.

    `prompt` is None where it is implicit, that is contained in both answers; `earlier` are messages before it.

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
        history = with_earlier(list(earlier), history)
        return *_answered(history, chosen), *_answered(history, rejected)
    history = with_earlier(list(earlier), _history(prompt))
    return *_conversation(history, chosen, earlier), *_conversation(history, rejected, earlier)


def _history(prompt: Any) -> list[Mapping[str, Any]]:
    if prompt is None:
        return []
    return [{"role": "user", "content": prompt}] if _is_text(prompt) else as_messages(prompt)


def _answered(history: list[Mapping[str, Any]], answer: str | None) -> tuple[Turns, Turns]:
    return turns([*history, {"role": "assistant", "content": answer}])


def _conversation(
    history: list[Mapping[str, Any]], answer: Any, earlier: Sequence[Mapping[str, Any]]
) -> tuple[Turns, Turns]:
    if _is_text(answer):
        return _answered(history, answer)
    messages = as_messages(answer)
    # Some sets repeat the whole conversation in each answer beside a prompt of its own.
    whole = any(message.get("role") in ("user", "human") for message in messages)
    return turns(with_earlier(list(earlier), messages) if whole else [*history, *messages])


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
