"""What a model is worth, in one line of Python: `evaluate(battles, model)`.

result = evaluate(battles, probabilities)      # a DataFrame, dicts or files; an array, a model, its directory, a function
result                                         # in a notebook: figures with intervals, and the leaderboard
result.to_frame()
result.save("evaluation")                      # report.html, figures.json, probabilities.csv, leaderboard.*
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from arena_data.errors import InputError
from arena_data.file_io import check_folder, write_atomically, write_json
from arena_data.loading import load_battles
from arena_data.submission import write_submission
from reward_model.api import RewardModel
from reward_model.evaluation.probabilities import FloatArray, floored_log
from reward_model.evaluation.quality import SHOWN, quality
from reward_model.evaluation.resampling import Estimate
from reward_model.predict.member import Job, MemberOptions
from reward_model.predict.open_member import open_member
from reward_model.report.data import ReportData
from reward_model.report.leaderboard import Leaderboard, leaderboard
from reward_model.report.notebook import as_frame, as_html, as_text
from reward_model.report.page import render_report, report_json
from reward_model.run_directory.load_model import LoadOptions

Judge = npt.ArrayLike | RewardModel | str | os.PathLike[str] | Callable[[datasets.Dataset], npt.ArrayLike]
HEADS = ("figure", "value", "95 % interval")


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Probabilities of battles, and what they are worth. Made by `evaluate`.

    Args:
        battles: columns of `arena_data.schema.FEATURES`, n of them.
        probabilities: float64 [n, 3], P(A), P(B), P(tie).
        figures: value, low, high, battles by name, of the battles with a verdict.
    """

    battles: datasets.Dataset
    probabilities: FloatArray
    figures: Mapping[str, Estimate]

    @cached_property
    def leaderboard(self) -> Leaderboard | None:
        """Ratings by what was predicted, for battles with votes too; None where no battle names two models."""
        try:
            return leaderboard(self.battles, self.probabilities, votes=False)
        except InputError:
            return None

    def to_frame(self) -> Any:
        """A pandas DataFrame: a row a figure."""
        return as_frame([{"figure": _shown(name), **figure} for name, figure in self.figures.items()])

    def report(self, peers: Mapping[str, npt.ArrayLike] | None = None) -> str:
        """The report's page as HTML. peers: name to probabilities float [n, 3] of systems to compare with."""
        return self._report(peers)[0]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes report.html, figures.json, probabilities.csv, and the leaderboard where there is one; returns the folder.

        Raises: InputError where it cannot be written.
        """
        target = check_folder(folder)
        page, figures = self._report(None)
        write_atomically(target / "report.html", page)
        write_json(target / "figures.json", figures)
        write_submission(target / "probabilities.csv", self.battles["id"][:], self.probabilities)
        if self.leaderboard is not None:
            self.leaderboard.save(target)
        return target

    def _report(self, peers: Mapping[str, npt.ArrayLike] | None) -> tuple[str, dict[str, Any]]:
        rows = _labelled(self.battles)
        shares = {name: _checked(values, len(self.battles)) for name, values in (peers or {}).items()}
        named = {name: floored_log(values)[rows] for name, values in shares.items()}
        data = ReportData(self.battles.select(rows), floored_log(self.probabilities)[rows], peers=named)
        figures = report_json(data)
        return render_report(data, figures), figures

    @property
    def _cells(self) -> list[list[str]]:
        cells = []
        for name, figure in self.figures.items():
            if figure["value"] is not None:
                interval = "" if figure["low"] is None else f"{figure['low']:.4f} to {figure['high']:.4f}"
                cells.append([_shown(name), f"{figure['value']:.4f}", interval])
        return cells

    @property
    def _caption(self) -> str:
        return f"{len(_labelled(self.battles)):,} battles with a verdict, of {len(self.battles):,}"

    def __repr__(self) -> str:
        parts = [self._caption, as_text(HEADS, self._cells)]
        return "\n".join(parts if self.leaderboard is None else [*parts, "", str(self.leaderboard)])

    def _repr_html_(self) -> str:
        own = as_html(HEADS, self._cells, self._caption)
        return own if self.leaderboard is None else own + self.leaderboard._repr_html_()


def evaluate(battles: Any, model: Judge) -> Evaluation:
    """What a model says of battles, and what that is worth.

    Args:
        battles: anything that `arena_data.load_battles` takes; some need a verdict.
        model: probabilities, float [n, 3], of A, B and tie in the order of the battles; a `RewardModel`; a run's, baseline's
            or blend's directory, or a CSV file of probabilities; or a function from the battles to probabilities.

    Raises: InputError for what cannot be read, or where no battle has a verdict; ValueError for what are no probabilities.
    """
    loaded = load_battles(battles)
    rows = _labelled(loaded)
    if not len(rows):
        raise InputError("no battle has a verdict, so there is nothing to evaluate", expected="labelled battles")
    probabilities = _probabilities(loaded, model)
    verdicts = np.asarray(loaded.select(rows)["verdict"][:], np.float64)
    groups = loaded.select(rows)["group"][:]
    return Evaluation(loaded, probabilities, quality(floored_log(probabilities)[rows], verdicts, groups))


def _shown(name: str) -> str:
    return SHOWN.get(name, name.replace("_", " "))


def _labelled(battles: datasets.Dataset) -> npt.NDArray[np.intp]:
    """The places of the battles with a verdict."""
    return np.flatnonzero([verdict is not None for verdict in battles["verdict"][:]])


def _probabilities(battles: datasets.Dataset, model: Any) -> FloatArray:
    if isinstance(model, RewardModel):
        return model.compare(battles["prompt"][:], battles["response_a"][:], battles["response_b"][:])
    if isinstance(model, str | os.PathLike):
        return np.exp(open_member(os.fspath(model), MemberOptions(LoadOptions())).predict(Job(battles)).log_probs)
    return _checked(model(battles) if callable(model) else model, len(battles))


def _checked(probabilities: Any, battles: int) -> FloatArray:
    """float64 [battles, 3], each row divided by its sum. Raises: ValueError for what is no such table of probabilities."""
    try:
        values = np.asarray(probabilities)
        values = values.astype(np.float64, casting="same_kind" if values.dtype.kind == "c" else "unsafe")
    except (TypeError, ValueError) as error:
        raise ValueError(f"probabilities are no array of numbers ({error}); expected numbers ({battles}, 3)") from error
    if values.shape != (battles, 3) or not np.isfinite(values).all():
        raise ValueError(f"probabilities have shape {values.shape}, or NaN; expected numbers ({battles}, 3)")
    if (values < 0).any() or (np.abs(values.sum(axis=1) - 1) > 1e-3).any():
        raise ValueError("probabilities must be at least 0 and sum to 1 in each row; are these log-probabilities?")
    shares: FloatArray = values / values.sum(axis=1, keepdims=True)
    return shares
