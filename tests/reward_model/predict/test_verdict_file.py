"""Verdicts in letters, of one order or both, become shares; what cannot be read is said with its row."""

from pathlib import Path

import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.submission import read_submission, write_submission
from reward_model.__main__ import main
from reward_model.predict.open_member import read_log_probs
from reward_model.predict.verdict_file import is_verdict_file, parse_verdict, read_verdicts


def csv_of(folder: Path, text: str) -> Path:
    path = folder / "judge.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        (("A", " a ", "A>B", "A>>B", "[[A]]", "[[A>>B]]", "model_a", "So [[B>A]] … no: [[A>B]]"), 0),
        (("B", "B>A", "B >> A", "[[B]]", "model_b"), 1),
        (("tie", "Tie", "C", "[[C]]", "A=B", "[[A=B]]", "tie (bothbad)"), 2),
    ],
)
def test_the_forms_of_a_verdict(texts: tuple[str, ...], verdict: int) -> None:
    assert {parse_verdict(text) for text in texts} == {verdict}


@pytest.mark.parametrize("text", ["", None, "both are fine", "[[D]]", "AB", "1"])
def test_other_texts_are_none(text: str | None) -> None:
    with pytest.raises(ValueError, match="expected A, B, tie"):
        parse_verdict(text)


def test_two_orders_in_two_columns_and_in_two_rows_are_the_same(tmp_path: Path) -> None:
    columns = csv_of(tmp_path, "id,verdict,verdict_swapped\nx,A>B,[[B>A]]\ny,A,A\nz,tie,B\nw,B,\n")
    ids, shares = read_verdicts(columns)
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 1, 0]]
    assert ids == ["x", "y", "z", "w"]
    np.testing.assert_allclose(shares, expected)
    rows = "id,order,verdict\nx,AB,A\ny,AB,A\nz,AB,C\nw,AB,B\nx,BA,B\ny,BA,A\nz,swapped,B\n"
    np.testing.assert_allclose(read_verdicts(csv_of(tmp_path, rows))[1], expected)


def test_bad_rows_are_named(tmp_path: Path) -> None:
    cases = [
        ("id,verdict\nx,A\ny,maybe\n", r"row 2, column 'verdict': not a verdict; found 'maybe'"),
        ("id,verdict\nx,A\nx,B\n", "row 2.*there already"),
        ("id,verdict,order\nx,A,AA\n", "column 'order': not an order"),
        ("id,verdict\n,A\n", "id is empty"),
    ]
    for text, match in cases:
        with pytest.raises(InputError, match=match):
            read_verdicts(csv_of(tmp_path, text))


def test_a_judge_of_letters_is_calibrated_and_blended_as_any_file(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(3, size=150)
    said = np.where(random.random(150) < 0.6, truth, random.integers(3, size=150))
    ids = [f"b{row}" for row in range(150)]
    lines = [f"{name},{'ABC'[verdict]}" for name, verdict in zip(ids, said, strict=True)]
    judge = csv_of(tmp_path, "\n".join(["id,verdict", *lines, ""]))
    assert is_verdict_file(judge) and read_log_probs(judge)[1].shape == (150, 3)
    write_submission(tmp_path / "Y.csv", ids, np.eye(3)[truth])
    assert not is_verdict_file(tmp_path / "Y.csv")
    fitted, mapped = str(tmp_path / "c.json"), str(tmp_path / "Q.csv")
    assert main(["calibrate", "--predictions", str(judge), "--input", str(tmp_path / "Y.csv"), "--output", fitted]) == 0
    assert main(["calibrate", "--apply", fitted, "--predictions", str(judge), "--output", mapped]) == 0
    probabilities = read_submission(mapped)[1]
    # As sure as it is right, which is about 0.73.
    assert probabilities.max(axis=1).mean() == pytest.approx((said == truth).mean(), abs=0.07)
    blend = ["blend", str(judge), mapped, "--input", str(tmp_path / "Y.csv"), "--output", str(tmp_path / "B")]
    assert main([*blend, "--resamples", "0"]) == 0
