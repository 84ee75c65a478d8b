"""How long a response is, turn by turn: the fourteen length features of a strong DeBERTa solution.

A conversation has one length, in characters, for every turn. Its lengths are summed up by how much there is (sum), how
much at a time (mean, maximum, median, effective mean) and how uneven it is (standard deviation); the same summary of
the prompt is taken away to say how long the response is for what was asked. People prefer the longer answer more often
than not, so these few numbers are the baseline that any reading of the text has to beat.

The effective mean is sum(length²) / sum(length): the length of the turn in which a character picked at random stands.
It equals the mean where all turns are equal and leans to the long turns otherwise.

Source: the length features of DeBERTa solutions to Kaggle's LMSYS Chatbot Arena; the effective mean is the
weight-average of polymer science (weight-average against number-average molar mass).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

# Above this a response is long beyond comparison; without a limit one pasted megabyte would own a linear model's scale.
LIMIT_THOUSANDS = 32.0

_SCALE = f"in thousands of characters, limited to {LIMIT_THOUSANDS:g}"
_SIGNED_SCALE = f"in thousands of characters, limited to ±{LIMIT_THOUSANDS:g}"

LENGTH_NOTES: dict[str, str] = {
    "length_sum": f"Length of all turns together, {_SCALE}.",
    "length_mean": f"Mean length of a turn, {_SCALE}.",
    "length_max": f"Length of the longest turn, {_SCALE}.",
    "length_log_sum": "log(1 + characters of all turns together).",
    "length_log_mean": "log(1 + mean characters of a turn).",
    "length_log_max": "log(1 + characters of the longest turn).",
    "length_median": f"Median length of a turn, {_SCALE}.",
    "length_deviation": f"Standard deviation (population) of the turns' lengths, {_SCALE}; 0 for one turn.",
    "length_effective_mean": f"Sum of squared lengths over sum of lengths, {_SCALE}.",
    "length_sum_over_prompt": f"Length of all turns less that of the prompt's turns, {_SIGNED_SCALE}.",
    "length_mean_over_prompt": f"Mean length of a turn less that of the prompt's turns, {_SIGNED_SCALE}.",
    "length_max_over_prompt": f"Length of the longest turn less that of the prompt's longest, {_SIGNED_SCALE}.",
    "length_median_over_prompt": f"Median length of a turn less that of the prompt's turns, {_SIGNED_SCALE}.",
    "length_effective_mean_over_prompt": f"Effective mean length less that of the prompt's turns, {_SIGNED_SCALE}.",
}
LENGTH_FEATURES: tuple[str, ...] = tuple(LENGTH_NOTES)


class LengthSummary(NamedTuple):
    """What is kept of the lengths of a conversation's turns, in their unit; zeros where there is no turn."""

    total: float
    mean: float
    maximum: float
    median: float
    deviation: float
    effective_mean: float


def summarise(lengths: Sequence[int]) -> LengthSummary:
    """Sum up the lengths of one conversation's turns.

    Args:
        lengths: one length for every turn, in characters, none negative; may be empty.
    """
    if not lengths:
        return LengthSummary(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if len(lengths) == 1:
        only = float(lengths[0])
        return LengthSummary(only, only, only, only, 0.0, only)
    count, total = len(lengths), sum(lengths)
    ordered = sorted(lengths)
    mean = total / count
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    deviation = math.sqrt(sum((length - mean) ** 2 for length in lengths) / count)
    effective_mean = sum(length * length for length in lengths) / total if total else 0.0
    return LengthSummary(float(total), mean, float(ordered[-1]), median, deviation, effective_mean)


def _thousands(characters: float) -> float:
    return max(-LIMIT_THOUSANDS, min(LIMIT_THOUSANDS, characters / 1000))


def length_values(asked: LengthSummary, own: LengthSummary) -> list[float]:
    """The fourteen length features of one response, in the order of `LENGTH_FEATURES`.

    Args:
        asked: lengths of the user's turns; any number.
        own: lengths of the model's turns; any number, which need not be the prompt's.
    """
    return [
        _thousands(own.total),
        _thousands(own.mean),
        _thousands(own.maximum),
        math.log1p(own.total),
        math.log1p(own.mean),
        math.log1p(own.maximum),
        _thousands(own.median),
        _thousands(own.deviation),
        _thousands(own.effective_mean),
        _thousands(own.total - asked.total),
        _thousands(own.mean - asked.mean),
        _thousands(own.maximum - asked.maximum),
        _thousands(own.median - asked.median),
        _thousands(own.effective_mean - asked.effective_mean),
    ]


def length_features(prompt: Sequence[str], response: Sequence[str]) -> dict[str, float]:
    """The same of the texts of a prompt's and of a response's turns, by their names."""
    values = length_values(summarise(list(map(len, prompt))), summarise(list(map(len, response))))
    return dict(zip(LENGTH_FEATURES, values, strict=True))
