"""The leaderboard: worked by hand, against statsmodels, from votes and predictions, and the command that writes it."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import statsmodels.api as sm

from arena_data.exploration.ranking import ELO_PER_LOGIT, rank_models
from arena_data.loading import load_battles
from arena_data.reading.in_memory import make_battles
from arena_data.submission import write_submission
from reward_model import leaderboard
from reward_model.__main__ import main
from reward_model.report.leaderboard import STYLE_CONTROLS

SAMPLE = Path(__file__).parents[3] / "arena_data/sample.csv"
ARENA = Path(__file__).parents[3] / "../shared/data/arena/train.csv"


def battles_between(
    outcomes: list[tuple[str, str, int | None]], texts: list[list[str]] | None = None
) -> datasets.Dataset:
    """Battles of named models; outcome: 0 for A, 1 for B, 2 for a tie, None for no vote. texts: of A and of B."""
    count = len(outcomes)
    battles = make_battles([f"p {row}" for row in range(count)], *(texts or [["x"] * count] * 2))
    names: dict[str, list[Any]] = {
        "model_a": [a for a, _, _ in outcomes],
        "model_b": [b for _, b, _ in outcomes],
        "verdict": [None if won is None else np.eye(3)[won].tolist() for _, _, won in outcomes],
    }
    table = battles.to_dict() | names
    return datasets.Dataset.from_dict(table, features=battles.features)


def test_ratings_worked_by_hand() -> None:
    """Of two models, 3 wins to 1 loss whatever the ties are 400 log10 3 Elo apart."""
    rounds = [("owl", "fox", 0)] * 300 + [("owl", "fox", 1)] * 100 + [("owl", "fox", 2)] * 200
    turned = [("fox", "owl", 1)] * 300 + [("fox", "owl", 0)] * 100 + [("fox", "owl", 2)] * 200
    board = leaderboard(battles_between(rounds + turned), style=False)
    owl, fox = board.ratings
    assert (owl.model, owl.rank, fox.rank, owl.battles) == ("owl", 1, 2, 1200)
    assert owl.rating - fox.rating == pytest.approx(400 * np.log10(3), rel=0.01)  # the prior takes a little off
    assert (owl.best_rank, owl.worst_rank, fox.best_rank, fox.worst_rank) == (1, 1, 2, 2)
    assert board.position[0] == pytest.approx(0, abs=1e-6)
    assert board.votes == 1200 and board.predictions == 0


def test_ranks_that_intervals_leave_open() -> None:
    even = [("a", "b", 0), ("a", "b", 1), ("b", "c", 0), ("b", "c", 1), ("c", "a", 0), ("c", "a", 1)]
    for rating in leaderboard(battles_between(even * 3), style=False).ratings:
        assert (rating.best_rank, rating.worst_rank) == (1, 3)


def simulated(rows: int, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sides, verdicts and two covariates of battles between five models."""
    random = np.random.default_rng(0)
    side_a, side_b = np.array([random.permutation(5)[:2] for _ in range(rows)]).T
    covariates = random.normal(size=(rows, 2))
    margin = np.linspace(-1, 1, 5)[side_a] - np.linspace(-1, 1, 5)[side_b] + 0.2 + covariates @ [0.7, -0.4]
    logits = np.stack([margin / 2, -margin / 2, np.full(rows, -0.3 if ties else -50.0)], axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return side_a, side_b, np.eye(3)[(random.random((rows, 1)) > shares.cumsum(axis=1)[:, :2]).sum(axis=1)], covariates


def test_style_controlled_strengths_are_those_of_statsmodels() -> None:
    side_a, side_b, verdicts, covariates = simulated(1500, ties=False)
    ours = rank_models(side_a, side_b, verdicts, 5, prior_sd=100, covariates=covariates)
    sides = np.eye(5)[side_a] - np.eye(5)[side_b]
    design = np.column_stack([sides[:, 1:], np.ones(len(sides)), covariates])
    theirs = sm.Logit(verdicts[:, 0], design).fit(disp=0)
    np.testing.assert_allclose(ours.strength[1:] - ours.strength[0], theirs.params[:4], atol=2e-3)
    np.testing.assert_allclose(ours.effects[:, 0], theirs.params[5:], atol=2e-3)
    np.testing.assert_allclose(ours.effects[:, 1:], theirs.conf_int()[5:], atol=5e-3)
    assert ours.position[0] == pytest.approx(theirs.params[4], abs=2e-3)


def poisson_strengths(side_a: np.ndarray, side_b: np.ndarray, verdicts: np.ndarray, models: int) -> np.ndarray:
    """Davidson's model as counts of A, B and tie by pair: a Poisson regression with an intercept a pair.

    Source: Baker (1994), "The multinomial-Poisson transformation".
    """
    codes, pair = np.unique(side_a * models + side_b, return_inverse=True)
    counts = np.stack([np.bincount(pair, weights=verdicts[:, k]) for k in range(3)], axis=1)
    first, second = codes // models, codes % models
    half = (np.eye(models)[first] - np.eye(models)[second])[:, 1:] / 2
    rows = []
    for outcome, sign in enumerate((1, -1, 0)):
        parts = [sign * half, np.full((len(codes), 1), sign / 2), np.full((len(codes), 1), float(outcome == 2))]
        rows.append(np.column_stack([*parts, np.eye(len(codes))]))
    fit = sm.GLM(counts.T.ravel(), np.concatenate(rows), family=sm.families.Poisson()).fit()
    return np.asarray(fit.params[: models - 1])


def test_strengths_with_ties_are_those_of_statsmodels() -> None:
    side_a, side_b, verdicts, _ = simulated(1500, ties=True)
    ours = rank_models(side_a, side_b, verdicts, 5, prior_sd=100)
    np.testing.assert_allclose(
        ours.strength[1:] - ours.strength[0], poisson_strengths(side_a, side_b, verdicts, 5), atol=2e-3
    )


@pytest.mark.skipif(not ARENA.is_file(), reason="the real battles are not here")
def test_strengths_of_real_battles_are_those_of_statsmodels() -> None:
    battles = load_battles(ARENA, labels="required")
    sides = np.array([battles["model_a"][:], battles["model_b"][:]])
    names, counts = np.unique(sides, return_counts=True)
    most = names[np.argsort(-counts)[:8]]
    kept = np.isin(sides, most).all(axis=0) & (sides[0] != sides[1])
    side_a, side_b = (np.searchsorted(np.sort(most), side[kept]) for side in sides)
    verdicts = np.asarray(battles["verdict"][:], np.float64)[kept]
    ours = rank_models(side_a, side_b, verdicts, 8, prior_sd=1000)
    theirs = poisson_strengths(side_a, side_b, verdicts, 8)
    np.testing.assert_allclose(ours.strength[1:] - ours.strength[0], theirs, atol=5e-3)


def test_predictions_count_where_there_is_no_vote_or_everywhere() -> None:
    battles = battles_between([("owl", "fox", 0)] * 10 + [("owl", "fox", None)] * 20)
    against = np.tile([0.1, 0.8, 0.1], (30, 1))
    assert leaderboard(battles, style=False).ratings[0].model == "owl"
    both = leaderboard(battles, against, style=False)
    assert (both.votes, both.predictions) == (10, 20)
    alone = leaderboard(battles, against, votes=False, style=False)
    assert alone.predictions == 30 and alone.ratings[0].model == "fox"
    assert alone.ratings[0].rating > both.ratings[0].rating
    with pytest.raises(ValueError, match="log-probabilities"):
        leaderboard(battles, np.log(against))


def test_style_is_held_apart() -> None:
    """The wordy model wins because it is wordy: with style held apart nothing is left of its lead."""
    random = np.random.default_rng(1)
    texts: list[list[str]] = [[], []]
    outcomes: list[tuple[str, str, int | None]] = []
    for _ in range(400):
        wordy_is_a = random.random() < 0.5
        wordy, terse = "word " * int(random.choice([5, 50])), "word " * int(random.choice([5, 5, 5, 50]))
        pair = (wordy, terse) if wordy_is_a else (terse, wordy)
        gap = np.log(len(pair[0])) - np.log(len(pair[1]))
        won = 0 if random.random() < 1 / (1 + np.exp(-1.5 * gap)) else 1
        outcomes.append(("wordy", "terse", won) if wordy_is_a else ("terse", "wordy", won))
        for side, text in zip(texts, pair, strict=True):
            side.append(text)
    board = leaderboard(battles_between(outcomes, texts))
    wordy = next(row for row in board.ratings if row.model == "wordy")
    assert wordy.low > 20 and wordy.style_low is not None and wordy.style_high is not None
    assert wordy.style_low < 0 < wordy.style_high
    assert board.style_effects["length_log_sum"][1] > 0 and set(board.style_effects) == set(STYLE_CONTROLS)


def test_a_board_shows_itself_and_escapes_names() -> None:
    board = leaderboard(battles_between([("<b>owl", "fox", 0), ("fox", "<b>owl", 1)] * 5))
    shown = board._repr_html_()
    assert "&lt;b&gt;owl" in shown and "<b>owl" not in shown and "<b>owl" not in board.page()
    frame = board.to_frame()
    assert list(frame["model"]) == ["<b>owl", "fox"] and frame["rating"][0] == board.ratings[0].rating
    assert "10 votes" in str(board)


def test_the_command_prints_the_board_and_writes_three_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "board"
    assert main(["rank", str(SAMPLE), "--output_dir", str(folder), "--no_style"]) == 0
    assert "rank  model" in capsys.readouterr().out
    stored = json.loads((folder / "leaderboard.json").read_text())
    with (folder / "leaderboard.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["model"] for row in rows] == [row["model"] for row in stored["ratings"]]
    board = leaderboard(load_battles(SAMPLE), style=False)
    assert float(rows[0]["rating"]) == pytest.approx(board.ratings[0].rating)
    assert board.ratings[0].rating / ELO_PER_LOGIT < 5
    assert "<svg" in (folder / "leaderboard.html").read_text()


def test_wrong_input_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.csv"
    write_submission(file, ["other"], np.array([[0.2, 0.3, 0.5]]))
    for flags, said in (
        ([str(SAMPLE), "--no_votes"], "--predictions"),
        ([str(SAMPLE), "--predictions", str(file)], "ids are missing"),
        ([str(SAMPLE), "--output_dir", str(file)], "no folder"),
    ):
        assert main(["rank", *flags]) == 2
        assert said in capsys.readouterr().err.strip().splitlines()[-1]
