"""`evaluate`: the same figures from every kind of model, shown, converted and saved."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.submission import read_submission, write_submission
from reward_model import RewardModel, evaluate
from reward_model.evaluation.metrics import measure
from tests.helpers.run_directories import make_run

SAMPLE = Path(__file__).parents[2] / "arena_data/sample.csv"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.read_csv(SAMPLE).head(80)


@pytest.fixture(scope="module")
def probabilities() -> np.ndarray:
    return np.random.default_rng(0).dirichlet([2, 2, 1], 80)


def test_figures_are_those_of_the_metrics(frame: pd.DataFrame, probabilities: np.ndarray) -> None:
    result = evaluate(frame, probabilities)
    battles = load_battles(frame)
    expected = measure(np.log(probabilities), battles["verdict"][:], battles["group"][:])["log_loss"]
    assert result.figures["log_loss"]["value"] == pytest.approx(expected.value)
    assert result.figures["log_loss"]["low"] == pytest.approx(expected.low)
    table = result.to_frame().set_index("figure")
    assert table.loc["log loss", "value"] == pytest.approx(expected.value)
    assert "log loss" in result._repr_html_() and "rating" in result._repr_html_() and "log loss" in str(result)


def test_every_kind_of_model_gives_the_same(frame: pd.DataFrame, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", kind="bert", style=False, max_length=100)
    few = frame.head(12)
    by_path = evaluate(few, run).probabilities
    by_model = evaluate(few, RewardModel.from_pretrained(run, device="cpu")).probabilities
    np.testing.assert_allclose(by_path, by_model, atol=1e-5)
    write_submission(tmp_path / "p.csv", load_battles(few)["id"][:], by_path)
    np.testing.assert_allclose(evaluate(few, tmp_path / "p.csv").probabilities, by_path, atol=1e-6)
    np.testing.assert_allclose(evaluate(few, lambda battles: by_path[: len(battles)]).probabilities, by_path)


def test_it_saves_report_figures_probabilities_and_leaderboard(
    frame: pd.DataFrame, probabilities: np.ndarray, tmp_path: Path
) -> None:
    folder = evaluate(frame, probabilities).save(tmp_path / "out")
    names = {
        "report.html",
        "figures.json",
        "probabilities.csv",
        "leaderboard.csv",
        "leaderboard.json",
        "leaderboard.html",
    }
    assert {path.name for path in folder.iterdir()} == names
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["battles"] == 80
    np.testing.assert_allclose(read_submission(folder / "probabilities.csv")[1], probabilities, atol=1e-8)
    assert "<svg" in (folder / "report.html").read_text()


def test_battles_without_names_have_no_leaderboard_and_those_without_verdicts_no_figures(
    frame: pd.DataFrame, probabilities: np.ndarray
) -> None:
    texts = ["id", "prompt", "response_a", "response_b"]
    verdicts = ["winner_model_a", "winner_model_b", "winner_tie"]
    assert evaluate(frame[texts + verdicts], probabilities).leaderboard is None
    with pytest.raises(InputError, match="no battle has a verdict"):
        evaluate(frame[texts], probabilities)


def test_what_are_no_probabilities_is_refused(frame: pd.DataFrame, probabilities: np.ndarray) -> None:
    with pytest.raises(ValueError, match="log-probabilities"):
        evaluate(frame, np.log(probabilities))
    with pytest.raises(ValueError, match=r"expected numbers \(80, 3\)"):
        evaluate(frame, probabilities[:3])
    ragged = [*probabilities.tolist()[1:], [1.0]]
    for wrong in (ragged, [["a", "b", "c"]] * 80, probabilities + 0j):
        with pytest.raises(ValueError, match=r"no array of numbers.*expected numbers \(80, 3\)"):
            evaluate(frame, wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected numbers \(80, 3\)"):
        evaluate(frame, probabilities).report(peers={"short": probabilities[:3]})
