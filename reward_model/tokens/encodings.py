"""The two ways to read a battle; what depends on the way is said here and nowhere else.

| encoding | first row | second row | a row's value is | margin d |
| --- | --- | --- | --- | --- |
| `separate` | [prompt, A] | [prompt, B] | the reward of its response | r_A − r_B |
| `joint` | [prompt, A, B] | [prompt, B, A] | the margin of its first response over its second | ½(d_AB − d_BA) |

A model gives each row a value and a tie strength, and each row has style features of its own. A battle's tie strength is the
mean of its rows'. The rest of the code does not ask which encoding a run has. It looks the object up once, by the name that
files and flags have, and asks the object. Arithmetic on rows is the same for numpy and torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from arena_data.transcripts.rendering import render, render_joint
from arena_data.transcripts.shortening import Keep
from arena_data.transcripts.truncation import JointTruncation, SeparateTruncation, for_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EncodingName = Literal["separate", "joint"]
# The turns of the prompt, of the response that leads, and of the other one.
Texts = tuple[Any, Any, Any]
# numpy or torch.
Array = TypeVar("Array", bound=Any)


class Encoding(ABC):
    """How a battle is read. Stateless: `SEPARATE` and `JOINT` are the only two objects."""

    name: ClassVar[EncodingName]
    # How many responses one row holds: a row of two is given the room of two.
    responses_in_row: ClassVar[int]
    # Whether a single response has a reward, which a policy can be trained on and which stock code can serve.
    scores_responses: ClassVar[bool]

    @abstractmethod
    def rows_read(self, both_orders: bool) -> int:
        """How many rows prediction reads of a battle. both_orders: read a row that holds both responses in both orders."""

    @abstractmethod
    def render(self, tokenizer: PreTrainedTokenizerBase, texts: Texts) -> str:
        """One row as text."""

    @abstractmethod
    def truncation(self, tokenizer: PreTrainedTokenizerBase, max_length: int, keep: Keep) -> Any:
        """What cuts texts to `max_length` tokens, for `shortened`. Raises: ValueError for a budget below the template's."""

    @abstractmethod
    def shortened(self, truncation: Any, texts: Texts) -> tuple[Texts, int]:
        """The texts of one row as they fit, and how many tokens were cut."""

    @abstractmethod
    def style_of_rows(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Style features of the first and of the second row, from those of A and B."""

    @abstractmethod
    def sides(self, values: Sequence[Array]) -> tuple[Array, Array]:
        """What speaks for A and for B, [battles] each; the margin is their difference.

        Args:
            values: [rows] of [battles], the model's values; one row or two, as `rows_read` says.
        """

    @abstractmethod
    def readings(self, values: Sequence[Array], ties: Sequence[Array]) -> list[tuple[Array, Array]]:
        """(margin, tie strength), [battles] each, of every reading of a battle that training learns from by itself.

        Their mean is the battle's margin and tie strength. Both rows of a separate encoding are one reading; each order of
        a joint one is a reading of its own, turned so that its margin is that of A over B.

        Args:
            values, ties: [rows] of [battles].
        """


class SeparateEncoding(Encoding):
    """A row holds the prompt and one response."""

    name = "separate"
    responses_in_row = 1
    scores_responses = True

    def rows_read(self, both_orders: bool) -> int:
        return 2

    def render(self, tokenizer: PreTrainedTokenizerBase, texts: Texts) -> str:
        prompt, first, _ = texts
        return render(tokenizer, prompt, first)

    def truncation(self, tokenizer: PreTrainedTokenizerBase, max_length: int, keep: Keep) -> SeparateTruncation:
        count, _, offsets = for_tokenizer(tokenizer)
        return SeparateTruncation(max_length, count, offsets, keep=keep)

    def shortened(self, truncation: SeparateTruncation, texts: Texts) -> tuple[Texts, int]:
        fitted = truncation.fit(texts[0], texts[1])
        return (fitted.prompt, fitted.response, texts[2]), fitted.tokens_cut

    def style_of_rows(self, a: Array, b: Array) -> tuple[Array, Array]:
        return a, b

    def sides(self, values: Sequence[Array]) -> tuple[Array, Array]:
        first, second = values
        return first, second

    def readings(self, values: Sequence[Array], ties: Sequence[Array]) -> list[tuple[Array, Array]]:
        return [(values[0] - values[1], (ties[0] + ties[1]) / 2)]


class JointEncoding(Encoding):
    """A row holds the prompt and both responses; the second row has them in the other order."""

    name = "joint"
    responses_in_row = 2
    scores_responses = False

    def rows_read(self, both_orders: bool) -> int:
        return 2 if both_orders else 1

    def render(self, tokenizer: PreTrainedTokenizerBase, texts: Texts) -> str:
        return render_joint(tokenizer, *texts)

    def truncation(self, tokenizer: PreTrainedTokenizerBase, max_length: int, keep: Keep) -> JointTruncation:
        _, count, offsets = for_tokenizer(tokenizer)
        return JointTruncation(max_length, count, offsets, keep=keep)

    def shortened(self, truncation: JointTruncation, texts: Texts) -> tuple[Texts, int]:
        fitted = truncation.fit(*texts)
        return (fitted.prompt, fitted.response_a, fitted.response_b), sum(fitted.tokens_cut)

    def style_of_rows(self, a: Array, b: Array) -> tuple[Array, Array]:
        # Such a row speaks for the margin itself, and so does its style.
        return a - b, b - a

    def sides(self, values: Sequence[Array]) -> tuple[Array, Array]:
        # Half the margin stands for each side; over both orders it is averaged antisymmetrically.
        margin = (values[0] - values[1]) / 2 if len(values) == 2 else values[0]
        return margin / 2, -margin / 2

    def readings(self, values: Sequence[Array], ties: Sequence[Array]) -> list[tuple[Array, Array]]:
        return [(value if row == 0 else -value, tie) for row, (value, tie) in enumerate(zip(values, ties, strict=True))]


SEPARATE, JOINT = SeparateEncoding(), JointEncoding()
ENCODINGS: dict[str, Encoding] = {encoding.name: encoding for encoding in (SEPARATE, JOINT)}


def encoding_named(name: str) -> Encoding:
    """The encoding that flags and files call by this name. Raises: ValueError for another name."""
    if name not in ENCODINGS:
        raise ValueError(f"encoding is {name!r}; expected one of {', '.join(ENCODINGS)}")
    return ENCODINGS[name]
