"""How the report writes its numbers: estimates with their intervals, effects as points of a hundred battles."""

from arena_data.webpage.drawing import percent
from reward_model.evaluation.resampling import Estimate

_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def plain(value: float | None, digits: int = 3) -> str:
    """A number with a true minus sign and none before a zero; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", _MINUS)


def signed(value: float | None, digits: int = 1) -> str:
    """As `plain`, with a plus sign above zero."""
    text = plain(value, digits)
    return f"+{text}" if value is not None and float(f"{value:.{digits}f}") > 0 else text


def _with_interval(value: str, low: str, high: str) -> str:
    # No line break within: a wrapped interval is hard to read down a column.
    return value if low == "–" else f"{value}{_SPACE}({low}{_SPACE}to{_SPACE}{high})"


def number_text(estimate: Estimate, digits: int = 3) -> str:
    """value (low to high), as they are."""
    return _with_interval(*(plain(estimate[key], digits) for key in ("value", "low", "high")))


def gain_text(estimate: Estimate | None, digits: int = 3) -> str:
    """As `number_text`, signed; a dash for None."""
    if estimate is None:
        return "–"
    return _with_interval(*(signed(estimate[key], digits) for key in ("value", "low", "high")))


def points_text(estimate: Estimate | None) -> str:
    """An effect in win share as points of a hundred: +4.3 (+3.7 to +5.0)."""
    if estimate is None:
        return "–"
    scaled = {key: None if estimate[key] is None else 100 * estimate[key] for key in ("value", "low", "high")}
    return _with_interval(*(signed(scaled[key]) for key in ("value", "low", "high")))


def percent_text(estimate: Estimate) -> str:
    """A share: 31.2 % (28 to 34)."""
    ends = [percent(estimate[key], 0).removesuffix(" %") for key in ("low", "high")]
    return _with_interval(percent(estimate["value"]).replace(" ", _SPACE), *ends)


def is_clear(estimate: Estimate | None) -> bool:
    """Whether the interval leaves 0 out."""
    return estimate is not None and estimate["low"] is not None and not estimate["low"] <= 0 <= estimate["high"]
