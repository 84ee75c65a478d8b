"""Which models are better: ratings with intervals and ranks, from votes, from predictions, or from both.

    board = leaderboard(battles)                           # votes
    board = leaderboard(battles, probabilities)            # votes where there are any, predictions elsewhere
    board = leaderboard(battles, probabilities, votes=False)

Ratings are Bradley-Terry strengths with Davidson's ties (`arena_data.exploration.ranking`), in points of Elo above the
average model, with Laplace's 95 % intervals. A prediction counts as a vote in fractions. Its interval does not know how
wrong the model may be: `arena-reward votes` corrects predictions by votes.

A style-controlled rating is that of the same fit with what the two responses differ in as covariates: length, headings,
lists, bold text. It says what a model would be worth if all wrote in one style.

Source: Davidson (1970); Li, Angelopoulos & Chiang (2024), "Does style matter?", for the covariates.
"""

import csv
import io
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.errors import InputError
from arena_data.exploration.model_pictures import draw_ranking
from arena_data.exploration.model_statistics import MODELS_SHOWN
from arena_data.exploration.ranking import ELO_PER_LOGIT, Ranking, rank_models
from arena_data.file_io import check_folder, write_atomically, write_json
from arena_data.loading import load_battles
from arena_data.style.features import RESPONSE_FEATURES, style_arrays
from arena_data.webpage.page import Group, Section, Table, Tile, render_page
from reward_model.report.notebook import as_frame, as_html, as_text

STYLE_CONTROLS = ("length_log_sum", "log_headings", "log_bullets", "log_numbered", "log_bold")
HEADS = ("rank", "model", "rating", "95 % interval", "ranks", "style-controlled", "battles")
NAMES = ("leaderboard.csv", "leaderboard.json", "leaderboard.html")


@dataclass(frozen=True)
class Rating:
    """A model's place. rating, low, high: Elo above the average model, with its 95 % interval.

    rank: by rating, from 1. best_rank, worst_rank: those that the intervals leave open. battles: that it fought, against
    others. style_rating, style_low, style_high, style_rank: the same with style held apart; None where it was not asked for.
    """

    rank: int
    model: str
    rating: float
    low: float
    high: float
    best_rank: int
    worst_rank: int
    battles: int
    style_rating: float | None = None
    style_low: float | None = None
    style_high: float | None = None
    style_rank: int | None = None


@dataclass(frozen=True, repr=False)
class Leaderboard:
    """Ratings, best first, and what they rest on.

    Args:
        ratings: best first.
        votes, predictions: how many battles counted by a vote, and by a prediction.
        position: value, low, high of what being shown as A is worth, Elo.
        style_effects: the same by feature, a standard deviation of the difference; empty where it was not asked for.
        islands: groups of models never compared with each other: between groups ratings mean nothing.
    """

    ratings: list[Rating]
    votes: int
    predictions: int
    position: tuple[float, float, float]
    style_effects: dict[str, tuple[float, float, float]]
    islands: int

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dicts."""
        return asdict(self)

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row a model."""
        return as_frame([asdict(rating) for rating in self.ratings])

    def cells(self) -> list[list[str]]:
        """A row a model, as `HEADS` names its cells."""
        return [
            [
                str(row.rank),
                row.model,
                f"{row.rating:+.0f}",
                f"{row.low:+.0f} to {row.high:+.0f}",
                f"{row.best_rank} to {row.worst_rank}" if row.best_rank < row.worst_rank else str(row.best_rank),
                "" if row.style_rating is None else f"{row.style_rating:+.0f} (rank {row.style_rank})",
                f"{row.battles:,}",
            ]
            for row in self.ratings
        ]

    @property
    def basis(self) -> str:
        """What the ratings rest on, in words."""
        parts = [f"{self.votes:,} votes"] if self.votes else []
        parts += [f"{self.predictions:,} predictions"] if self.predictions else []
        apart = f"; {self.islands} groups of models that never met" if self.islands > 1 else ""
        return f"{len(self.ratings)} models, {' and '.join(parts)}{apart}"

    def __repr__(self) -> str:
        return f"{as_text(HEADS, self.cells())}\n{self.basis}"

    def _repr_html_(self) -> str:
        return as_html(HEADS, self.cells(), self.basis)

    def to_csv(self) -> str:
        """The ratings as the text of a CSV file."""
        stream = io.StringIO()
        writer = csv.DictWriter(stream, Rating.__dataclass_fields__, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(rating) for rating in self.ratings)
        return stream.getvalue()

    def page(self) -> str:
        """The page as HTML; it needs nothing else."""
        rows = [{"model": row.model, "elo": row.rating, "low": row.low, "high": row.high} for row in self.ratings]
        most = sorted(self.ratings, key=lambda row: -row.battles)[:MODELS_SHOWN]
        figures = {"models": {"ranking": {"models": rows}, "records": [{"model": row.model} for row in most]}}
        tables = [Table("Ratings", ["model", *(head for head in HEADS if head != "model")], self._model_first())]
        effects = {"side A": self.position, **self.style_effects}
        cells = [[name, f"{value:+.0f}", f"{low:+.0f} to {high:+.0f}"] for name, (value, low, high) in effects.items()]
        notes = [
            "Elo points above the average model. 100 points more win 64 % of the battles that are no tie.",
            "Ranks are those that the intervals leave open.",
        ]
        if self.predictions:
            notes.append("Predictions count as votes in fractions; intervals do not know how wrong they may be.")
        style = "Effect of the side, and of one standard deviation more of a style feature, Elo"
        return render_page(
            title="Leaderboard",
            subtitle=self.basis,
            tiles=[Tile("models", f"{len(self.ratings):,}"), Tile("battles", f"{self.votes + self.predictions:,}")],
            note="Intervals are of 95 %.",
            sections=[
                Section("ratings", "Which models are better?", notes, [Group(["ranking"]), Group([], tables)]),
                Section(
                    "effects", "What else decides votes?", [], [Group([], [Table(style, ["", "Elo", "95 %"], cells)])]
                ),
            ],
            pictures={"ranking": draw_ranking(figures)},
        )

    def _model_first(self) -> list[list[str]]:
        return [[cells[1], cells[0], *cells[2:]] for cells in self.cells()]

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes `NAMES` to a folder; returns their paths. Raises: InputError where they cannot be written."""
        paths = [check_folder(folder) / name for name in NAMES]
        write_atomically(paths[0], self.to_csv())
        write_json(paths[1], self.to_json())
        write_atomically(paths[2], self.page())
        return paths


def leaderboard(
    battles: Any, probabilities: npt.ArrayLike | None = None, *, votes: bool = True, style: bool = True
) -> Leaderboard:
    """Ratings of the models that battles name.

    Args:
        battles: anything that `arena_data.load_battles` takes, or what it gives.
        probabilities: float [n, 3], P(A), P(B), P(tie) of each battle; they count where there is no vote.
        votes: whether votes count; without them, predictions count for every battle.
        style: whether to give style-controlled ratings too.

    Raises: InputError where no battle that counts names two different models; ValueError for probabilities of another shape.
    """
    loaded = (
        battles
        if isinstance(battles, datasets.Dataset) and "verdict" in battles.column_names
        else load_battles(battles)
    )
    outcomes, is_vote = _outcomes(loaded, probabilities, votes)
    sides = [np.array([name or "" for name in loaded[column][:]], dtype=object) for column in ("model_a", "model_b")]
    counted = (sides[0] != "") & (sides[1] != "") & (sides[0] != sides[1]) & ~np.isnan(outcomes).any(axis=1)
    if not counted.any():
        raise InputError(
            "no battle with a vote or a prediction names two different models", expected="columns model_a and model_b"
        )
    models, places = np.unique(np.stack(sides)[:, counted], return_inverse=True)
    side_a, side_b = places.reshape(2, -1)
    known = outcomes[counted]
    fit = rank_models(side_a, side_b, known, len(models))
    styled, effects = None, {}
    if style:
        arrays = style_arrays(loaded.select(np.flatnonzero(counted)), progress=False)
        columns = [RESPONSE_FEATURES.index(name) for name in STYLE_CONTROLS]
        differences = (arrays.a - arrays.b)[:, columns].astype(np.float64)
        scale = np.sqrt((differences**2).mean(axis=0))
        styled = rank_models(side_a, side_b, known, len(models), covariates=differences / np.where(scale > 0, scale, 1))
        effects = {name: _elo(row) for name, row in zip(STYLE_CONTROLS, styled.effects, strict=True)}
    return Leaderboard(
        ratings=_ratings(models.tolist(), fit, styled, np.bincount(places.ravel())),
        votes=int(is_vote[counted].sum()),
        predictions=int((~is_vote)[counted].sum()),
        position=_elo(np.array(fit.position)),
        style_effects=effects,
        islands=fit.islands,
    )


def _outcomes(
    battles: datasets.Dataset, probabilities: npt.ArrayLike | None, votes: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """What counts for each battle, float64 [n, 3], NaN for nothing; and whether it is a vote, bool [n]."""
    nothing = [np.nan] * 3
    voted = np.array([verdict or nothing for verdict in battles["verdict"][:]], dtype=np.float64).reshape(-1, 3)
    is_vote: npt.NDArray[np.bool_] = np.logical_and(~np.isnan(voted).any(axis=1), votes)
    if probabilities is None:
        return np.where(is_vote[:, None], voted, np.nan).astype(np.float64), is_vote
    predicted = np.asarray(probabilities, dtype=np.float64)
    if predicted.shape != (len(battles), 3) or np.isnan(predicted).any():
        raise ValueError(f"probabilities have shape {predicted.shape}, or NaN; expected numbers ({len(battles)}, 3)")
    if (predicted < 0).any() or (np.abs(predicted.sum(axis=1) - 1) > 1e-3).any():
        raise ValueError("probabilities must be at least 0 and sum to 1 in each row; are these log-probabilities?")
    return np.where(is_vote[:, None], voted, predicted).astype(np.float64), is_vote


def _ratings(models: list[str], fit: Ranking, styled: Ranking | None, battles: np.ndarray) -> list[Rating]:
    order = np.lexsort((np.array(models), -fit.strength))
    rank_of_style = np.empty(len(models), dtype=int)
    if styled is not None:
        rank_of_style[np.lexsort((np.array(models), -styled.strength))] = np.arange(1, len(models) + 1)
    ratings = []
    for rank, place in enumerate(order, start=1):
        controlled = {}
        if styled is not None:
            value, low, high = _elo(np.array([styled.strength[place], styled.low[place], styled.high[place]]))
            controlled = {"style_rating": value, "style_low": low, "style_high": high}
        value, low, high = _elo(np.array([fit.strength[place], fit.low[place], fit.high[place]]))
        ratings.append(
            Rating(
                rank=rank,
                model=str(models[place]),
                rating=value,
                low=low,
                high=high,
                best_rank=1 + int((fit.low > fit.high[place]).sum()),
                worst_rank=len(models) - int((fit.high < fit.low[place]).sum()),
                battles=int(battles[place]),
                style_rank=None if styled is None else int(rank_of_style[place]),
                **controlled,
            )
        )
    return ratings


def _elo(logits: np.ndarray) -> tuple[float, float, float]:
    value, low, high = (float(logit * ELO_PER_LOGIT) for logit in logits)
    return value, low, high
