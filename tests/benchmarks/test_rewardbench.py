"""RewardBench's scoring: the chosen response must be above the rejected one, whichever side it is on."""

import numpy as np
import pytest

from benchmarks.rewardbench import wins


def test_the_protocol() -> None:
    verdicts = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]])
    a, b = np.array([2.0, 1, 2, 1, 3]), np.array([1.0, 2, 1, 2, 3])
    assert wins(a, b, verdicts).tolist() == [1, 0, 0, 1, 0.5]
    np.testing.assert_array_equal(wins(b, a, verdicts[:, [1, 0, 2]]), wins(a, b, verdicts))
    with pytest.raises(ValueError, match="called a tie"):
        wins(a, b, np.full((5, 3), 1 / 3))
