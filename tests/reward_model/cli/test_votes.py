"""`arena-reward votes`: from files to shares by model, and a second round of votes on the battles that it picked."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from arena_data.submission import write_submission
from reward_model.__main__ import main
from reward_model.evaluation.votes import score, win_share

ROWS = 400


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """predictions.csv, few.csv with 60 verdicts, battles.jsonl with names; probabilities and one-hot verdicts of all."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.6, 0.6, 0.6], ROWS)
    verdicts = np.eye(3)[(random.random((ROWS, 1)) > probabilities.cumsum(axis=1)[:, :2]).sum(axis=1)]
    ids = [f"b{row}" for row in range(ROWS)]
    write_submission("predictions.csv", ids, probabilities)
    write_submission("few.csv", ids[:60], verdicts[:60])
    names = ("fox", "owl")
    with open("battles.jsonl", "w") as stream:
        for row, name in enumerate(ids):
            models = {"model_a": names[row % 2], "model_b": names[1 - row % 2]}
            battle = {"id": name, "prompt": f"p {row}", "response_a": "x", "response_b": "y", **models}
            stream.write(json.dumps(battle) + "\n")
    return probabilities, verdicts


def common(*more: str) -> list[str]:
    return ["votes", "--predictions", "predictions.csv", "--labels", "few.csv", *more]


def test_shares_of_a_and_of_each_model(
    files: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    probabilities, verdicts = files
    assert main(common("--input", "battles.jsonl", "--output", "out.json", "--width", "0.1")) == 0
    figures = json.loads(Path("out.json").read_text())
    voted = np.where(np.arange(ROWS) < 60, score(verdicts), np.nan)
    expected = win_share(score(probabilities), voted)
    assert figures["a"]["value"] == pytest.approx(expected.powered.value, abs=1e-6)
    assert figures["a"]["more_votes"] == expected.more_votes(0.1)
    turned = np.arange(ROWS) % 2 == 1
    fox = win_share(
        np.where(turned, 1 - score(probabilities), score(probabilities)), np.where(turned, 1 - voted, voted)
    )
    assert figures["fox"]["low"] == pytest.approx(fox.powered.low, abs=1e-6)
    assert figures["fox"]["value"] + figures["owl"]["value"] == pytest.approx(1)
    printed = capsys.readouterr().out
    assert "from 60 votes and 400 predictions" in printed and "more votes" in printed and "owl" in printed


def test_a_second_round_counts_with_the_chances_that_the_first_one_stated(
    files: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    _, verdicts = files
    assert main(common("--ask", "50", "--output_ask", "ask.csv")) == 0
    with open("ask.csv") as stream:
        rows = list(csv.DictReader(stream))
    states = [row["ask"] for row in rows]
    assert (states.count("voted"), states.count("yes"), states.count("no")) == (60, 50, 290)
    answered = [row for row, state in enumerate(states) if state != "no"]
    write_submission("more.csv", [f"b{row}" for row in answered], verdicts[answered])
    second = ["votes", "--predictions", "predictions.csv", "--labels", "more.csv", "--asked", "ask.csv"]
    assert main([*second, "--output", "out.json"]) == 0
    assert json.loads(Path("out.json").read_text())["a"]["votes"] == 110
    capsys.readouterr()
    assert main(common("--asked", "ask.csv")) == 2
    assert "was asked about but has no vote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ask", "5"], "--ask and --output_ask go together"),
        (["--width", "2"], "expected a share between 0 and 1"),
        (["--ask", "500", "--output_ask", "a.csv"], "expected 1 to 340"),
        (["--asked", "predictions.csv"], "column 'ask' is missing"),
        (["--output", "few.csv"], "overwrite"),
    ],
)
def test_flags_that_do_not_fit_are_refused_in_one_line(
    files: tuple[np.ndarray, np.ndarray], flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(common(*flags))
    except SystemExit as end:
        status = int(str(end.code))
    assert status == 2
    assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_labels_of_other_battles_are_refused(
    files: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    write_submission("few.csv", ["other"], np.array([[1.0, 0, 0]]))
    assert main(common()) == 2
    assert "have no prediction" in capsys.readouterr().err
