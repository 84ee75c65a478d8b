"""What a battle is: the columns every release is turned into, and the order of the three verdicts.

A conversation is a list of user turns (`prompt`) with one list of answers per side (`response_a`, `response_b`).
Most battles have one turn; some have 36. A verdict is a distribution over `LABELS`, always in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets

    FEATURES: datasets.Features

LABELS = ("A", "B", "tie")

# Probabilities written with two decimals, or rounded to bfloat16, still count as summing to 1: 0.33 three times does.
# What is added is binary's own rounding: 0.34 three times is a little more than 1.02.
SUM_TOLERANCE = 0.02 + 1e-9


def _features() -> datasets.Features:
    import datasets

    return datasets.Features(
        {
            # As the file gives it (an integer beyond 32 bits stays exact); made from file and row where the file has none.
            "id": datasets.Value("string"),
            "prompt": datasets.List(datasets.Value("string")),
            "response_a": datasets.List(datasets.Value("string")),
            "response_b": datasets.List(datasets.Value("string")),
            "model_a": datasets.Value("string"),
            "model_b": datasets.Value("string"),
            "language": datasets.Value("string"),
            # P(A), P(B), P(tie) as voted; null where the row is not labelled.
            "verdict": datasets.List(datasets.Value("float32"), length=3),
            # How much of the verdict said that both responses are bad: a part of its tie. 0 where nobody said so, which
            # tells nothing of a source that never records it; null where the row is not labelled.
            "both_bad": datasets.Value("float32"),
            # A teacher's P(A), P(B), P(tie); null where there is none.
            "teacher": datasets.List(datasets.Value("float32"), length=3),
            # How much better people said that the winner is, on its source's scale; null for a tie and where nobody said.
            "strength": datasets.Value("float32"),
            # Equal for equal prompts, whatever file they come from. Folds are grouped by it, after
            # `arena_data.splits.linking` has joined groups by near-duplicate prompts and by what follows here.
            "group": datasets.Value("string"),
            # The conversation or session and the voter or judge, as the release names them; null where it does not.
            "session": datasets.Value("string"),
            "voter": datasets.Value("string"),
            # The release or study the row names as its source; the file's stem where it names none.
            "source": datasets.Value("string"),
            # What was odd about the row and how it was handled, see `arena_data.reading.cleaning.ODDITIES`.
            "oddities": datasets.List(datasets.Value("string")),
        }
    )


def __getattr__(name: str) -> Any:
    """`FEATURES`, made when first asked for: `datasets` takes a second to import, and verdicts alone do without it."""
    if name != "FEATURES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, _features())
