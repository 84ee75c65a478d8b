"""A share and how sure one is of it, as plain numbers that JSON can hold.

A share of few battles says little, so none is shown without its 95 % Wilson interval, which stays inside [0, 1] and
keeps its meaning at 0 and at n, where the usual plus-or-minus interval has no width. Soft verdicts (fractions) add
up to fractional counts, which the interval takes as they are.

Source: Wilson (1927), "Probable Inference, the Law of Succession, and Statistical Inference".
"""

import math
from typing import Any

import numpy as np
from scipy.special import ndtri

from arena_data.schema import LABELS
from arena_data.webpage.drawing import percent

Figures = dict[str, Any]
_Z = float(ndtri(0.975))  # of a 95 % interval


def number(value: float) -> float | None:
    """The value as a float, None where it is not finite: JSON has no word for that."""
    return float(value) if np.isfinite(value) else None


def share(count: float, of: float) -> Figures:
    """`count` out of `of` with its 95 % Wilson interval; share, low and high are in [0, 1], or None where `of` is 0."""
    if of <= 0:
        return {"count": 0.0, "of": 0.0, "share": None, "low": None, "high": None}
    # Sums of float fractions may stray past the ends by a rounding error.
    of = float(of)
    count = min(max(float(count), 0.0), of)
    low, high = wilson(count, of)
    return {"count": count, "of": of, "share": count / of, "low": low, "high": high}


def wilson(count: float, of: float) -> tuple[float, float]:
    """The 95 % Wilson interval of `count` out of `of`, its ends in [0, 1]; both may be fractions, and `of` is above 0."""
    share, spread = count / of, _Z**2 / of
    centre = share + spread / 2
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4)
    return max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread))


def verdict_shares(verdicts: np.ndarray) -> Figures:
    """Shares of A, B and tie. verdicts: float [n, 3], rows without a label hold NaN and are left out."""
    labelled = verdicts[~np.isnan(verdicts).any(axis=1)]
    return {label: share(labelled[:, place].sum(), len(labelled)) for place, label in enumerate(LABELS)}


def decided_share(wins: float, losses: float) -> Figures:
    """Share of wins among decided battles: ties are left out, a soft verdict counts by its fractions."""
    return share(wins, wins + losses)


def spread(values: np.ndarray) -> Figures:
    """Mean, median, 95th and 99th percentile and maximum of the values; None where there are none."""
    if not len(values):
        return {"mean": None, "median": None, "p95": None, "p99": None, "max": None}
    median, p95, p99 = np.percentile(values, [50, 95, 99])
    return {
        "mean": float(np.mean(values)),
        "median": float(median),
        "p95": float(p95),
        "p99": float(p99),
        "max": float(np.max(values)),
    }


def count_text(value: float | None) -> str:
    """A whole number as such; fractions, which soft verdicts make, with one digit."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-6 else f"{value:,.1f}"


def share_text(share: Figures) -> str:
    if share["share"] is None:
        return "–"
    # No line break within: a wrapped interval is hard to read down a column.
    return f"{percent(share['share'])} ({100 * share['low']:.0f} to {100 * share['high']:.0f})".replace(
        " ", "\N{NO-BREAK SPACE}"
    )


def verdict_texts(verdicts: Figures) -> list[str]:
    return [share_text(verdicts[label]) for label in ("A", "B", "tie")]
