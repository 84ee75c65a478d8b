"""Votes in, verdicts out: a verdict is the distribution (A, B, tie) that was voted.

Releases say it in three ways: a winner's name, three one-hot columns, or counts of several annotators' votes; a teacher
says it as probabilities. All become three floats that sum to 1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Verdict = tuple[float, float, float]

A, B, TIE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
# The names the public releases use. Both-bad is a tie: neither answer was preferred.
WINNERS: dict[str, Verdict] = {
    "model_a": A,
    "model_b": B,
    "tie": TIE,
    "tie (bothbad)": TIE,
    "tie (both bad)": TIE,
    "both_bad": TIE,
    "bothbad": TIE,
}
# Probabilities written with three decimals still count as summing to 1.
SUM_TOLERANCE = 2e-3


def from_winner(winner: str) -> Verdict:
    """Raises: ValueError for a name that no release uses."""
    try:
        return WINNERS[winner.strip().lower()]
    except (KeyError, AttributeError):
        raise ValueError(f"one of {', '.join(WINNERS)}") from None


def voted(verdict: Sequence[float] | None, teacher: Sequence[float] | None) -> Sequence[float] | None:
    """The verdict where people gave it; null where there is none, or a teacher's probabilities serve as one.

    A battle that nobody judged is loaded with its teacher's probabilities as its verdict, so the two are equal to the
    last bit. A certain verdict counts as people's though a teacher be as certain: no vote is lost by mistake.
    """
    return None if verdict is not None and verdict == teacher and max(verdict) < 1 else verdict


def _three(values: Mapping[str, Any] | Sequence[Any]) -> list[float]:
    if isinstance(values, Mapping):
        for names in (("model_a", "model_b", "tie"), ("A", "B", "tie"), ("a", "b", "tie")):
            if set(values) <= set(names) and values:
                values = [values.get(name) or 0 for name in names]
                break
        else:
            raise ValueError("the keys model_a, model_b and tie")
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 3:
        raise ValueError("three numbers, for A, B and tie")
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        raise ValueError("three numbers, for A, B and tie") from None
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError("three numbers of at least 0")
    return numbers


def from_probabilities(values: Mapping[str, Any] | Sequence[Any]) -> Verdict:
    """One-hot columns or probabilities, as a list in the order A, B, tie or by name.

    Raises: ValueError where they are not three non-negative numbers that sum to 1.
    """
    numbers = _three(values)
    total = sum(numbers)
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"a sum of 1, not {total:g}")
    return (numbers[0] / total, numbers[1] / total, numbers[2] / total)


def from_votes(values: Mapping[str, Any] | Sequence[Any]) -> Verdict:
    """Counts of votes (or their fractions) as fractions. Raises: ValueError where nobody voted."""
    numbers = _three(values)
    total = sum(numbers)
    if total == 0:
        raise ValueError("at least one vote")
    return (numbers[0] / total, numbers[1] / total, numbers[2] / total)
