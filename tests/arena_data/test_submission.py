"""Submissions: what is written is read back, and what is wrong is named by file, row and column."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arena_data.errors import InputError
from arena_data.submission import align, read_submission, write_submission

HEADER = "id,winner_model_a,winner_model_b,winner_tie\n"


def test_written_and_read_back_in_order_with_large_ids(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.3, 0.3, 0.3], size=500)
    ids = [str(2**62 - row) for row in range(500)]
    write_submission(tmp_path / "s.csv", ids, probabilities, {"reward_a": np.arange(500)})
    read_ids, values = read_submission(tmp_path / "s.csv")
    assert read_ids == ids
    np.testing.assert_allclose(values, probabilities, atol=2e-9)
    printed = np.loadtxt(tmp_path / "s.csv", delimiter=",", skiprows=1, usecols=(1, 2, 3))
    np.testing.assert_allclose(printed.sum(axis=1), 1, atol=1e-6)


def test_an_id_of_any_characters_survives(tmp_path: Path) -> None:
    ids = ['a,"b"', "line\nbreak", "carriage\rreturn", "both\r\n", "\r", " blank ", '"', "é猫", "\ufeffmark", "x;y\tz"]
    write_submission(tmp_path / "s.csv", ids, [[0, 0, 1]] * len(ids))
    assert read_submission(tmp_path / "s.csv")[0] == ids
    assert pd.read_csv(tmp_path / "s.csv")["id"].tolist() == ids


@pytest.mark.parametrize(
    "shares", [(0.33, 0.33, 0.33), (0.34, 0.34, 0.34), (0.3333, 0.3333, 0.3333), (0.5, 0.25, 0.2656)]
)
def test_rounded_probabilities_are_divided_by_their_sum(shares: tuple[float, ...], tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(HEADER + "1," + ",".join(map(str, shares)) + "\n")
    values = read_submission(tmp_path / "s.csv")[1]
    np.testing.assert_allclose(values, [np.divide(shares, sum(shares))])


def test_a_sum_beyond_rounding_is_refused_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(HEADER + "1,0.33,0.33,0.33\n2,0.32,0.32,0.32\n")
    with pytest.raises(InputError, match=r"row 2: the three shares do not sum to 1 but to 0\.96"):
        read_submission(tmp_path / "s.csv")


@pytest.mark.parametrize("values", [[[0.5, 0.5, 0.5]], [[np.nan, 0.5, 0.5]], [[1.5, -0.5, 0]], [[0.5, 0.5]]])
def test_what_is_no_distribution_is_never_written(tmp_path: Path, values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        write_submission(tmp_path / "s.csv", ["1"], values)
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("id,winner_model_a,winner_tie\n1,0,1\n", ["winner_model_b", "missing"]),
        (HEADER + "1,1,0,0\n2,x,0,1\n", ["row 2", "'winner_model_a'", "'x'"]),
        (HEADER + "1,1,0,0\n2,nan,0,1\n", ["row 2", "'winner_model_a'"]),
        (HEADER + "1,1,0,0\n1,0,1,0\n", ["row 2", "'id'", "row 1"]),
        (HEADER + "1,0.5,0.2,0.2\n", ["row 1", "sum"]),
        (HEADER + "1,1,0\n", ["row 1", "'winner_tie'"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError) as error:
        read_submission(tmp_path / "s.csv")
    assert all(part in str(error.value) for part in ["s.csv", *parts])
    assert "\n" not in str(error.value)


def test_align_orders_by_id_and_names_what_is_missing() -> None:
    values = np.eye(3)
    assert align(["c", "a"], ["a", "b", "c"], values, "f.csv").argmax(axis=1).tolist() == [2, 0]
    with pytest.raises(InputError, match=r"f\.csv.*1 of 2 ids are missing.*'z'"):
        align(["a", "z"], ["a", "b", "c"], values, "f.csv")
