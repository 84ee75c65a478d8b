"""A time budget measures its own speed."""

import numpy as np
import pytest

from reward_model.predict.deadline import Deadline
from tests.helpers.predictions import Clock


def test_a_deadline_affords_the_longest_texts_that_are_read_in_time() -> None:
    clock = Clock()
    deadline = Deadline(1000, clock=clock)
    sizes = np.array([4000] * 10 + [400] * 10)
    assert deadline.max_length(sizes, 16, 1024) == 1024  # nothing is known yet
    clock.now += 50
    deadline.note(50, tokens=500, uncut_tokens=1000, size=4000)  # 10 tokens a second, 4 bytes a token
    # 900 seconds are left of 950: 9,000 tokens for ten texts of 1,000 tokens and ten of 100.
    assert deadline.max_length(sizes, 16, 1024) == 800
    clock.now += 890
    assert deadline.max_length(sizes, 16, 1024) == 16
    assert not deadline.is_over
    clock.now += 10
    assert deadline.is_over


def test_a_deadline_is_shared_by_members() -> None:
    clock = Clock()
    deadline = Deadline(1000, clock=clock)
    assert deadline.share(2).ends == pytest.approx(100 + 475)
    clock.now += 50
    assert deadline.share(1).ends == deadline.ends
    assert Deadline(None, clock=clock).share(3).ends is None
