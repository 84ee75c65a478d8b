"""Shares and their intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from arena_data.exploration.shares import share, wilson


@given(of=st.floats(0.5, 1e6), part=st.floats(0, 1))
def test_the_interval_is_the_one_of_statsmodels(of: float, part: float) -> None:
    """Fractional counts too, which soft verdicts make."""
    expected = proportion_confint(part * of, of, alpha=0.05, method="wilson")
    assert wilson(part * of, of) == pytest.approx(expected, abs=1e-9)


def test_a_share_of_nothing_is_unknown_and_rounding_errors_stay_inside() -> None:
    assert share(0, 0)["share"] is None
    assert share(3.0000001, 3)["high"] == 1.0 and share(-1e-9, 3)["low"] == 0.0
