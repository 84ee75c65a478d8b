"""Where training battles come from: our own, which are like those that will be predicted, and other sources.

Each source has tie habits and grades of its own (`reward_model.model.source_offsets`). A source without a single tie is
taken not to record them. Our own battles are source 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import datasets
import numpy as np
import numpy.typing as npt
import torch

from arena_data.arguments import suggestion
from arena_data.containers.limits import LIMITS, Limits
from arena_data.errors import InputError
from arena_data.splits.extra_battles import read_extra_battles
from reward_model.model.source_offsets import SourceInputs
from reward_model.train.dataset import verdicts_of

IntArray = npt.NDArray[np.int64]
CV = "cv"
# More values than this are no grades; they are cut into quantiles.
MOST_LEVELS, QUANTILES = 7, 4


@dataclass(frozen=True)
class Sources:
    """Of S other sources, our own first where there are S + 1 entries.

    Args:
        names: [S], in the order in which the files name them.
        tie_observed: [S + 1], whether the source records ties.
        scales: [S + 1], the least strength of each grade, rising; empty where a source is not graded.
        weights: [S + 1], what one battle counts; 1 for our own.
    """

    names: tuple[str, ...] = ()
    tie_observed: tuple[bool, ...] = (True,)
    scales: tuple[tuple[float, ...], ...] = ((),)
    weights: tuple[float, ...] = (1.0,)

    @property
    def grade_levels(self) -> int:
        """The most grades that a source has; 0 where no battle is graded."""
        return max(len(scale) for scale in self.scales)

    @property
    def plain(self) -> bool:
        """Whether there are our own battles only, without grades: nothing here is needed then."""
        return not self.names and not self.grade_levels

    def inputs(self, battles: datasets.Dataset, source: IntArray) -> SourceInputs:
        """Of these battles, whose sources are given as int64 [n]."""
        strengths = battles["strength"]
        grades = [_grade(strength, self.scales[place]) for strength, place in zip(strengths, source, strict=True)]
        levels = np.array([len(scale) for scale in self.scales])[source]
        return SourceInputs(
            torch.from_numpy(source),
            torch.tensor(np.array(self.weights)[source]),
            torch.tensor(np.array(self.tie_observed)[source]),
            torch.tensor(grades, dtype=torch.int64),
            torch.from_numpy(levels),
        )


@dataclass(frozen=True)
class ExtraBattles:
    """Battles of other sources that may be trained on.

    Args:
        battles: without the prompts of the held-out parts.
        source: int64 [n], from 1.
        left_out: how many battles have a prompt of the held-out parts.
    """

    battles: datasets.Dataset
    source: IntArray
    left_out: int = 0

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "ExtraBattles":
        return replace(self, battles=self.battles.select(np.flatnonzero(chosen)), source=self.source[chosen])


def read_sources(
    extra_file: Sequence[str], parts: Mapping[str, datasets.Dataset], *, grades: str, limits: Limits = LIMITS
) -> tuple[Sources, ExtraBattles | None]:
    """The sources of a run and the battles of the other ones; None without `extra_file`.

    Args:
        extra_file: files, globs or Hub ids of labelled battles.
        parts: `train`, `validation` and `calibration`.
        grades: whose grades of a win are used: `own`, `all` or `none`.
        limits: sizes beyond which a file is refused.

    Raises: InputError for input that cannot be read.
    """
    # Of all parts, so that each fold of a run has the same grades.
    own = [strength for part in parts.values() for strength in part["strength"]]
    if not extra_file:
        return Sources(scales=(scale_of(own) if grades != "none" else (),)), None
    battles, kept = read_extra_battles(extra_file, parts["validation"], parts["calibration"], limits=limits)
    names = tuple(dict.fromkeys(battles["source"]))
    source = np.array([names.index(name) + 1 for name in battles["source"]], dtype=np.int64)
    ties = np.bincount(source, weights=verdicts_of(battles)[:, 2], minlength=len(names) + 1)[1:]
    scales: list[tuple[float, ...]] = [()] * (len(names) + 1)
    if grades != "none":
        scales[0] = scale_of(own)
    if grades == "all":
        strengths = np.array(battles["strength"], dtype=object)
        scales[1:] = [scale_of(strengths[source == place].tolist()) for place in range(1, len(names) + 1)]
    sources = Sources(names, (True, *(bool(tie > 0) for tie in ties)), tuple(scales), (1.0,) * (len(names) + 1))
    return sources, ExtraBattles(battles.select(kept), source[kept], len(battles) - len(kept))


def scale_of(strengths: Sequence[float | None]) -> tuple[float, ...]:
    """The least strength of each grade, rising; () where there are not two. More than `MOST_LEVELS` become quantiles."""
    known = np.array([strength for strength in strengths if strength is not None], dtype=np.float64)
    values = np.unique(known)
    if len(values) > MOST_LEVELS:
        values = np.unique(np.quantile(known, np.arange(QUANTILES) / QUANTILES, method="lower"))
    return tuple(values.tolist()) if len(values) > 1 else ()


def _grade(strength: float | None, scale: Sequence[float]) -> int:
    """From 1; 0 where nobody graded."""
    return 0 if strength is None or not scale else max(1, int(np.searchsorted(scale, strength, side="right")))


def parse_weights(given: Sequence[str], names: Sequence[str]) -> dict[str, float | None]:
    """What one battle of each source counts; None where cross-validation is to say.

    Args:
        given: `cv`, or a number for all, or `SOURCE=NUMBER` for some.

    Raises: InputError for no number of at least 0, or a source that is not there.
    """
    weights: dict[str, float | None] = dict.fromkeys(names)
    # What is said of all comes first, so that what is said of one overrides it.
    for text in sorted(map(str, given), key=lambda text: "=" in text):
        name, _, value = text.rpartition("=")
        if name and name not in weights:
            expected = f"one of {', '.join(names)}"
            raise InputError(f"--extra_weight names no source: {name}{suggestion(name, set(names))}", expected=expected)
        number = None if value == CV else _weight(value)
        weights |= {name: number} if name else dict.fromkeys(names, number)
    return weights


def _weight(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise InputError("--extra_weight", found=text, expected=f"{CV}, a number of at least 0, or SOURCE=NUMBER")
    return number


def source_lines(sources: Sources, extra: ExtraBattles | None, by_cross_validation: Sequence[str] = ()) -> list[str]:
    """A line a source: how many battles, what they teach, what one counts; and a line for grades that are not used."""
    lines = []
    for place, name in enumerate(sources.names, start=1):
        count = 0 if extra is None else int((extra.source == place).sum())
        ties = "an offset of ties of its own" if sources.tie_observed[place] else "no ties recorded: who wins counts"
        how = " (by cross-validation of style)" if name in by_cross_validation else ""
        left = "; left out" if sources.weights[place] == 0 else ""
        lines.append(f"source {name}: {count:,} battles, {ties}; weight {sources.weights[place]:g}{how}{left}")
    if extra is not None and extra.left_out:
        lines.append(f"{extra.left_out:,} battles of other sources are left out: their prompts are held out")
    return lines


def grade_lines(sources: Sources, train: datasets.Dataset, extra: ExtraBattles | None, *, grades: str) -> list[str]:
    """What becomes of every grade: how many are used, and how many are not and why; nothing where no battle has one.

    Args:
        grades: as of `read_sources`.
    """
    graded = np.zeros(len(sources.scales), dtype=np.int64)
    graded[0] = sum(strength is not None for strength in train["strength"])
    if extra is not None:
        known = np.array([strength is not None for strength in extra.battles["strength"]], dtype=bool)
        graded += np.bincount(extra.source[known], minlength=len(graded))
    asked = np.array([grades != "none", *[grades == "all"] * (len(graded) - 1)])
    scaled = np.array([bool(scale) for scale in sources.scales])
    used, unasked, single = (int(graded[which].sum()) for which in (scaled, ~asked, asked & ~scaled))
    lines = []
    if used:
        levels = sorted({len(scale) for scale in sources.scales if scale})
        lines.append(f"{used:,} graded battles train an ordered link ({' or '.join(map(str, levels))} grades of a win)")
    if unasked:
        whose = "battles of other sources" if grades == "own" else "battles"
        lines.append(f"grades of {unasked:,} {whose} are not used (--grades {grades}); --grades all uses them")
    if single:
        lines.append(f"grades of {single:,} battles are not used: each source has only one")
    return lines
