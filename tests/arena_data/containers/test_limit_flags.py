"""`--read_limits` names each bound of `Limits`, in bytes or with a unit."""

import pytest

from arena_data.containers.limit_flags import limits_of
from arena_data.containers.limits import LIMITS, MIB, Limits
from arena_data.errors import InputError


def test_bounds_that_are_not_named_stay() -> None:
    assert limits_of(None) == limits_of([]) == LIMITS
    given = ["cell=32MiB", "row=1GiB", "columns=50", "header=2000", "expansion=7"]
    expected = Limits(cell=32 * MIB, row=1024 * MIB, columns=50, header=2000, expansion=7)
    assert limits_of(given) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cel=1", "no bound 'cel' (did you mean cell?)"),
        ("cell", "cell is no size"),
        ("cell=-1", "cell is no size; found '-1'; expected such as cell=64MiB"),
        ("cell=0", "is no size"),
        ("cell=1.5MiB", "is no size"),
        ("cell=99999999GiB", "is no size"),
        ("columns=5MiB", "columns is no size; found '5MiB'; expected such as columns=5000"),
        ("=5", "no bound ''"),
    ],
)
def test_what_is_no_bound_is_refused_in_a_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        limits_of([text])
    assert said in str(error.value) and "\n" not in str(error.value)
