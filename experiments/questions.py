"""The file of configurations: questions, each with a baseline arm and others, read and checked before anything is run."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from arena_data.errors import InputError
from benchmarks.leaderboard.systems import NEURAL_FLAGS
from experiments.variants import variant_or_baseline
from reward_model.baselines.neural.base import Neural

_QUESTION = {"question", "hypothesis", "baseline", "arms", "seeds", "budget"}
_ARM = {"kind", "options", "extra", "flags"}


@dataclass(frozen=True)
class Arm:
    """One way of doing it.

    Args:
        name: as the page calls it.
        kind: of `reward_model.baselines.base.KINDS`, `frozen_variant` or `cross_reading`; empty for our own reward model.
        options: of the kind.
        extra: names of files of further battles.
        flags: of train_reward.py, for our own reward model.
        budget: of our own reward model: the flags in `benchmarks.leaderboard.systems.NEURAL_FLAGS`.
    """

    name: str
    kind: str
    options: dict[str, Any]
    extra: tuple[str, ...]
    flags: tuple[str, ...]
    budget: dict[str, Any]

    def made_by(self, seed: int, data: str, battles: int | None) -> dict[str, Any]:
        """All that a fold's result depends on apart from the fold and the code.

        Args:
            data: fingerprint of all battles.
            battles: how many of them are for training and calibration; None for all.
        """
        made: dict[str, Any] = {"kind": self.kind, "options": self.options, "extra": list(self.extra), "seed": seed}
        made |= {"data": data, "battles": battles}
        if self.kind:
            return made | {"versions": dict(variant_or_baseline(self.kind).versions)}
        return made | {"flags": list(self.flags), "budget": self.budget}


@dataclass(frozen=True)
class Question:
    """One question. baseline: the name of the arm that the others are compared with; seeds: of the folds."""

    name: str
    question: str
    hypothesis: str
    baseline: str
    arms: dict[str, Arm]
    seeds: tuple[int, ...]

    @property
    def costly(self) -> bool:
        """Whether it trains backbones: such questions are asked by name only."""
        return any(not arm.kind or issubclass(variant_or_baseline(arm.kind), Neural) for arm in self.arms.values())


@dataclass(frozen=True)
class Curve:
    """Log loss against training battles: these arms and their blend, at these numbers of battles and at all of them."""

    battles: tuple[int, ...]
    seeds: tuple[int, ...]
    arms: dict[str, Arm]


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, Question], Curve]:
    """Raises: InputError, one line, for a file that cannot be read or says what is not known."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        seeds = tuple(content["seeds"])
        questions = {
            name: _question(name, given, tuple(given.get("seeds", seeds)))
            for name, given in content["questions"].items()
        }
        curve = content["learning_curve"]
        arms = {name: _arm(name, given, {}) for name, given in curve["arms"].items()}
        return questions, Curve(tuple(curve["battles"]), tuple(curve.get("seeds", seeds)), arms)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from error
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"is broken: {' '.join(str(error).split())}", file=path) from error


def _question(name: str, given: dict[str, Any], seeds: tuple[int, ...]) -> Question:
    _check(name, given, _QUESTION)
    arms = {arm: _arm(f"{name}.{arm}", options, given.get("budget", {})) for arm, options in given["arms"].items()}
    if given["baseline"] not in arms:
        raise ValueError(f"{name}: the baseline {given['baseline']!r} is none of its arms")
    return Question(name, given["question"], given["hypothesis"], given["baseline"], arms, seeds)


def _arm(name: str, given: dict[str, Any], budget: dict[str, Any]) -> Arm:
    _check(name, given, _ARM)
    kind, options, flags = given.get("kind", ""), given.get("options", {}), given.get("flags", [])
    if kind:
        _check(name, options, {field.name for field in fields(variant_or_baseline(kind))})
    elif set(budget) != set(NEURAL_FLAGS):
        raise ValueError(f"{name}: the budget has {', '.join(budget)}; expected {', '.join(NEURAL_FLAGS)}")
    return Arm(name, kind, options, tuple(given.get("extra", ())), tuple(map(str, flags)), {} if kind else budget)


def _check(name: str, given: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(given) - known):
        raise ValueError(f"{name}: unknown {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
