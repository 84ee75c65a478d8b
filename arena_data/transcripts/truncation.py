"""Fits a transcript to a token budget without favouring a side and without dropping a row.

The idea: what does not fit is cut behind marks (`arena_data.transcripts.shortening` says how), rendered again and
counted again, so the budget holds for what the model really reads, whatever a tokenizer merges at the edges of a
cut. A mark carries a hash, so two answers that differ only in what was cut still differ. What fits is returned as it
came.

Who gets the budget:
- The latest turn first, since the vote is about where the conversation ended; older turns share what it leaves,
  newest first, and the rest are dropped behind a mark at the start.
- Within a turn the prompt is sure of `prompt_share` (an answer cannot be judged without the question) and the response
  of the remainder; what one does not need goes to the other.
- In `joint`, once the battle as a whole does not fit, a response's allowance depends on the prompt and itself alone:
  half of what the prompt's share leaves. A short rival does not lengthen it, so the same answer is read the same way
  against any rival that is cut. What the responses leave unused goes back to the prompt.

Each text is tokenised twice, to count and for its offsets; all later counts are of texts about as long as the budget.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from arena_data.transcripts.rendering import Tokenizer, Turns, clean, paired, render, render_joint, token_ids
from arena_data.transcripts.shortening import Keep, Offsets, Piece, Rules, mark_cost, shrink

TRUNCATION_VERSION = 1

# Tokens of the rendered (prompt, response) or (prompt, response A, response B), special tokens included.
Count = Callable[[list[str], list[str]], int]
JointCount = Callable[[list[str], list[str], list[str]], int]


class TooSmallError(ValueError):
    """A budget that the template alone, or bare marks, would exceed. least: the smallest that will do."""

    def __init__(self, max_length: int, least: int):
        super().__init__(f"max_length is {max_length}; with this tokenizer and template it must be at least {least}")
        self.least = least


@dataclass(frozen=True)
class Fitted:
    """A (prompt, response) that fits. tokens_cut: tokens of its texts that are gone, 0 if none are."""

    prompt: list[str]
    response: list[str]
    tokens_cut: int


@dataclass(frozen=True)
class FittedJoint:
    """A battle that fits. tokens_cut: of the prompt, response A and response B."""

    prompt: list[str]
    response_a: list[str]
    response_b: list[str]
    tokens_cut: tuple[int, int, int]


@dataclass(frozen=True)
class SeparateTruncation:
    """Fits (prompt, response) to `max_length` tokens; a pure function of the two.

    Args:
        max_length: tokens of the rendered transcript, special tokens included.
        count, offsets: see `Count` and `Offsets`; `for_tokenizer` makes both.
        prompt_share: in [0, 1], the share of a turn's room that its prompt is sure of.
        keep: which end of a cut text is kept.
    Raises: ValueError if max_length is below `least_max_length`, naming it: a configuration fails here, never a row.
    """

    max_length: int
    count: Count
    offsets: Offsets
    prompt_share: float = 0.3
    keep: Keep = "both"
    least_max_length: int = field(init=False)
    _template: int = field(init=False)  # tokens of the template around one turn, less what it adds for each turn
    _rules: Rules = field(init=False)

    def __post_init__(self) -> None:
        one = self.count(["x"], ["x"]) - 2
        per_turn = self.count(["x", "x"], ["x", "x"]) - 4 - one
        rules = Rules(self.offsets, mark_cost(self.offsets), per_turn, self.prompt_share, self.keep)
        object.__setattr__(self, "_rules", rules)
        object.__setattr__(self, "_template", one - per_turn)
        object.__setattr__(self, "least_max_length", one - per_turn + rules.smallest(2))
        _check(self.max_length, self.least_max_length, self.prompt_share, self.keep)

    def fit(self, prompt: Turns, response: Turns) -> Fitted:
        """The pair as it came, only `clean`ed, if it fits; else with its older and longer parts shortened."""
        whole = [clean(text) for text in prompt], [clean(text) for text in response]
        if self.count(*whole) <= self.max_length:
            return Fitted(*whole, tokens_cut=0)
        rules = self._rules
        user, assistant = paired(prompt, response)
        rounds = list(zip(rules.pieces(user), rules.pieces(assistant), strict=True))
        (texts, tokens), over = shrink(
            lambda room: rules.shorten(rounds, room),
            lambda shortened: self.count(shortened[0][0], shortened[0][1]) - self.max_length,
            self.max_length - self._template,
            floor=rules.per_turn + 2 * rules.mark,
        )
        _check_fitted(over, self.max_length)
        return Fitted(texts[0], texts[1], sum(tokens))


@dataclass(frozen=True)
class JointTruncation:
    """Fits (prompt, response A, response B) to `max_length` tokens; swapping the responses swaps the result.

    A response of a battle that does not fit is shortened by the prompt and itself alone, measured in A's place
    whichever side it is on. Arguments and errors as in `SeparateTruncation`.
    """

    max_length: int
    count: JointCount
    offsets: Offsets
    prompt_share: float = 0.3
    keep: Keep = "both"
    least_max_length: int = field(init=False)
    _template: int = field(init=False)  # tokens of the template around three texts of one turn
    _rules: Rules = field(init=False)

    def __post_init__(self) -> None:
        template = self.count(["x"], ["x"], ["x"]) - 3
        # Only texts of several turns carry labels: the second turn brings two.
        label = (self.count(["x", "x"], ["x"], ["x"]) - 4 - template + 1) // 2
        rules = Rules(self.offsets, mark_cost(self.offsets), label, self.prompt_share, self.keep)
        object.__setattr__(self, "_rules", rules)
        object.__setattr__(self, "_template", template)
        object.__setattr__(self, "least_max_length", template + 3 * rules.smallest(1))
        _check(self.max_length, self.least_max_length, self.prompt_share, self.keep)

    def fit(self, prompt: Turns, response_a: Turns, response_b: Turns) -> FittedJoint:
        """The battle as it came, only `clean`ed, if it fits; else with its older and longer parts shortened."""
        whole = [[clean(text) for text in turns] for turns in (prompt, response_a, response_b)]
        if self.count(whole[0], whole[1], whole[2]) <= self.max_length:
            return FittedJoint(whole[0], whole[1], whole[2], tokens_cut=(0, 0, 0))
        user, side_a, side_b = (self._rules.pieces(turns or [""]) for turns in whole)
        (texts, tokens), over = shrink(
            lambda room: self._shorten_all(user, side_a, side_b, room),
            lambda shortened: self.count(*shortened[0]) - self.max_length,
            self.max_length - self._template,
            floor=3 * self._rules.smallest(1),
        )
        _check_fitted(over, self.max_length)
        return FittedJoint(*texts, tokens_cut=tokens)

    def _shorten_all(
        self, user: list[Piece], side_a: list[Piece], side_b: list[Piece], room: int
    ) -> tuple[tuple[list[str], list[str], list[str]], tuple[int, int, int]]:
        """All three within `room` tokens of text and labels, the responses first, each by the prompt and itself."""
        smallest = self._rules.smallest(1)
        need = sum(piece.tokens + self._rules.per_turn for piece in user)
        sure = min(need, max(int(self.prompt_share * room), smallest), room - 2 * smallest)
        allowance = (room - sure) // 2

        def cost_of_response(texts: list[str]) -> int:
            return self.count(["x"], texts, ["x"]) - 2 - self._template

        def cost_of_prompt(texts: list[str]) -> int:
            return self.count(texts, a, b) - taken

        a, cut_a = self._shorten_one(side_a, allowance, cost_of_response)
        b, cut_b = self._shorten_one(side_b, allowance, cost_of_response)
        taken = self.count(["x"], a, b) - 1
        fitted, cut = self._shorten_one(user, room + self._template - taken, cost_of_prompt)
        return (fitted, a, b), (cut, cut_a, cut_b)

    def _shorten_one(
        self, pieces: list[Piece], allowance: int, cost: Callable[[list[str]], int]
    ) -> tuple[list[str], int]:
        # One turn carries no label.
        rules = self._rules if len(pieces) > 1 else replace(self._rules, per_turn=0)
        (texts, tokens), _ = shrink(
            lambda room: rules.shorten([(piece,) for piece in pieces], room),
            lambda shortened: cost(shortened[0][0]) - allowance,
            allowance,
            floor=rules.per_turn + rules.mark,
        )
        return texts[0], tokens[0]


@dataclass(frozen=True)
class TruncationReport:
    """How much of a set of transcripts was cut. Tokens per row: `mean` and `largest`, over the rows that were cut."""

    max_length: int
    rows: int
    rows_cut: int
    tokens_cut: int
    mean: float
    largest: int

    def __str__(self) -> str:
        share = f"{self.rows_cut / self.rows:.1%}" if self.rows else "none"
        return (
            f"{self.rows_cut} of {self.rows} transcripts ({share}) shortened to {self.max_length} tokens: "
            f"{self.tokens_cut} tokens cut, {self.mean:.0f} a shortened transcript, {self.largest} at most"
        )


def truncation_report(tokens_cut: Sequence[int], max_length: int) -> TruncationReport:
    """Sums up `tokens_cut` of every transcript, 0 for those returned as they came."""
    cut = [tokens for tokens in tokens_cut if tokens > 0]
    mean = sum(cut) / len(cut) if cut else 0.0
    return TruncationReport(max_length, len(tokens_cut), len(cut), sum(cut), mean, max(cut, default=0))


def for_tokenizer(tokenizer: Tokenizer) -> tuple[Count, JointCount, Offsets]:
    """`count` for `SeparateTruncation`, `count` for `JointTruncation`, and `offsets`, as `transcripts` renders.

    Raises: ValueError if the tokenizer is a slow one, which knows no offsets.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError("truncation needs a fast tokenizer (one with offsets); load it with use_fast=True")

    def count(prompt: list[str], response: list[str]) -> int:
        return len(token_ids(tokenizer, render(tokenizer, prompt, response)))

    def joint_count(prompt: list[str], response_a: list[str], response_b: list[str]) -> int:
        return len(token_ids(tokenizer, render_joint(tokenizer, prompt, response_a, response_b)))

    def offsets(text: str) -> Sequence[tuple[int, int]]:
        encoded = tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        spans: Sequence[tuple[int, int]] = encoded["offset_mapping"]
        return spans

    return count, joint_count, offsets


def _check(max_length: int, least: int, prompt_share: float, keep: str) -> None:
    if max_length < least:
        raise TooSmallError(max_length, least)
    if not 0 <= prompt_share <= 1:
        raise ValueError(f"prompt_share is {prompt_share}; expected a share between 0 and 1")
    if keep not in get_args(Keep):
        raise ValueError(f"keep is {keep!r}; expected one of {', '.join(get_args(Keep))}")


def _check_fitted(over: int, max_length: int) -> None:
    if over > 0:
        raise ValueError(f"bare marks exceed max_length {max_length} by {over} tokens: this tokenizer is not served")
