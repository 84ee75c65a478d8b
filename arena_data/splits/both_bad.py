"""Which battles tell whether their tie was "both are bad": those of sources that record it."""

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.reading.verdicts import voted

FloatArray = npt.NDArray[np.float64]


def both_bad_of(battles: datasets.Dataset) -> FloatArray:
    """float64 [n]: how much of each verdict said that both are bad; NaN where that is not known.

    A source without a single such battle is taken not to record it, and a teacher's verdict does not say it.
    """
    columns = battles.select_columns(["source", "verdict", "teacher", "both_bad"])
    rows = list(columns)
    recording = {row["source"] for row in rows if row["both_bad"]}
    return np.array(
        [
            row["both_bad"]
            if row["source"] in recording and voted(row["verdict"], row["teacher"]) is not None
            else np.nan
            for row in rows
        ],
        dtype=np.float64,
    )


def four_shares(battles: datasets.Dataset) -> FloatArray:
    """float64 [4]: shares of A, B, tie and both bad, the last as large a part of the ties as where it is known."""
    verdicts, bad = np.asarray(list(battles["verdict"]), dtype=np.float64), both_bad_of(battles)
    known = np.isfinite(bad)
    of_ties = bad[known].sum() / max(verdicts[known, 2].sum(), 1e-9)
    win_a, win_b, tie = verdicts.mean(axis=0)
    return np.array([win_a, win_b, tie * (1 - of_ties), tie * of_ties])
