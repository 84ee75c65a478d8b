"""What every baseline is: fit on battles, log-probabilities of battles, a directory without pickle.

No system here knows which side is called A: swapping a battle swaps P(A) with P(B) and leaves P(tie), to the last bit.
A directory holds what the kind itself saves (JSON, safetensors, skops, LightGBM's text) beside

    calibration.json    the map fitted on battles that training has not seen, `reward_model.calibration.calibration`
    metrics.json        held-out figures
    baseline.json       kind, options, versions of features; removed first and written last, so it marks a whole directory

Source: the interface is scikit-learn's (fit, predict_log_proba), https://scikit-learn.org/stable/developers/develop.html.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from arena_data.errors import InputError
from arena_data.file_io import json_object, read_json, write_json
from arena_data.style.languages import guessed_languages_of
from arena_data.transcripts.rendering import TRANSCRIPT_VERSION
from arena_data.transcripts.truncation import TRUNCATION_VERSION
from reward_model.calibration.calibration import Calibration
from reward_model.pretrained.backbones import judge_backbone
from reward_model.pretrained.judge_file import JudgeFile, read_judge
from reward_model.run_directory.settings import BASELINE, CALIBRATION, METRICS

if TYPE_CHECKING:
    import datasets

    from arena_data.style.features import StyleArrays
    from reward_model.pretrained.away import Languages

# Of a system that reads texts: it is refused where they are laid out or cut in another way than in training.
TEXT_VERSIONS = {"transcript": TRANSCRIPT_VERSION, "truncation": TRUNCATION_VERSION}

# kind: (where it is, what it is). Imported only when it is asked for.
KINDS: dict[str, tuple[str, str]] = {
    "prior": ("reward_model.baselines.classical.lengths:Prior", "the shares of A, B and tie, sides taken together"),
    "length_buckets": (
        "reward_model.baselines.classical.lengths:LengthBuckets",
        "the mean verdict of battles with a like difference in length",
    ),
    "length_tree": ("reward_model.baselines.classical.length_tree:LengthTree", "a decision tree on lengths"),
    "style": (
        "reward_model.baselines.regression.style:StyleRegression",
        "Davidson regression on what can be counted without reading",
    ),
    "tfidf_logistic": (
        "reward_model.baselines.classical.tfidf:TfIdfLogistic",
        "TF-IDF, multinomial logistic regression",
    ),
    "tfidf_svm": ("reward_model.baselines.classical.tfidf:TfIdfSVM", "TF-IDF, linear SVM made probabilities"),
    "tfidf_forest": ("reward_model.baselines.classical.tfidf:TfIdfForest", "TF-IDF, random forest"),
    "lightgbm": (
        "reward_model.baselines.classical.boosting:BoostedTrees",
        "boosted trees on word counts and text statistics",
    ),
    "cross_encoder": (
        "reward_model.baselines.neural.cross_encoder:CrossEncoder",
        "a backbone with three labels over prompt, A and B",
    ),
    "frozen": (
        "reward_model.baselines.regression.frozen:Frozen",
        "Davidson regression on a frozen backbone's vectors and on style",
    ),
    "siamese": ("reward_model.baselines.neural.siamese:Siamese", "one backbone over each side, with length features"),
}

FloatArray = npt.NDArray[np.float64]


@dataclass
class Baseline(ABC):
    """One system. Its dataclass fields are its options, all of JSON's own types; the rest is learned."""

    kind: ClassVar[str]
    # Versions of what the numbers depend on besides the files, such as the style features'.
    versions: ClassVar[Mapping[str, int]] = {}
    # Whether `fit` can use battles of other sources; see `fit`.
    takes_extra: ClassVar[bool] = False
    # Whether it reads style features, which may have been counted already; see `log_probabilities_with`.
    reads_style: ClassVar[bool] = False
    # Of `reward_model.calibration.calibration`.
    calibration_method: ClassVar[str] = "auto"

    @abstractmethod
    def fit(self, battles: datasets.Dataset, extra: datasets.Dataset | None = None) -> None:
        """Learns from labelled battles; anything that is chosen is chosen by cross-validation over their prompts.

        Args:
            battles: every one with a verdict, one-hot or soft; like those that will be predicted.
            extra: labelled battles from elsewhere, which may have other tie rates or none; only where `takes_extra`.
        """

    @abstractmethod
    def log_probabilities(self, battles: datasets.Dataset) -> FloatArray:
        """float64 [n, 3], finite: log P(A), log P(B), log P(tie), uncalibrated. Needs no verdicts."""

    def log_probabilities_with(self, battles: datasets.Dataset, style: StyleArrays) -> FloatArray:
        """`log_probabilities` of battles whose style features are counted already; only where `reads_style`."""
        raise NotImplementedError(f"{self.kind} reads no style features")

    def style_terms(self, style: StyleArrays) -> FloatArray | None:
        """float64 [n, F]: what each style feature adds to the margin; None where the margin is no such sum."""
        return None

    @abstractmethod
    def save_state(self, directory: Path) -> None:
        """Writes what was learned into a directory that exists."""

    @abstractmethod
    def load_state(self, directory: Path) -> None:
        """The inverse of `save_state`, on a new object with the same options."""

    def use_backbone(self, model_name_or_path: str) -> None:  # noqa: B027
        """Reads with this copy of its backbone, where it keeps none of its own."""

    def use_device(self, device: str) -> None:  # noqa: B027
        """Reads its backbone on this device, where it has one. Raises: ModelError for a device that is not there."""

    def save(
        self,
        directory: str | os.PathLike[str],
        calibration: Calibration | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes a directory that `read_baseline` reads. Raises: InputError where it cannot be written."""
        folder = Path(directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / BASELINE).unlink(missing_ok=True)
            self.save_state(folder)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror or error}", file=folder) from error
        about = {"kind": self.kind, "options": asdict(self), "versions": dict(self.versions)}
        contents: dict[str, Any] = {
            CALIBRATION: (calibration or Calibration()).to_json(),
            METRICS: dict(metrics or {}),
            BASELINE: about,
        }
        for name, content in contents.items():
            write_json(folder / name, content)


@dataclass(frozen=True)
class StoredBaseline:
    """What `read_baseline` found. judge: only of one that ships with the package."""

    baseline: Baseline
    calibration: Calibration
    metrics: dict[str, Any]
    judge: JudgeFile | None = None

    def predict(self, battles: datasets.Dataset, style: Callable[[], StyleArrays], calibrated: bool) -> FloatArray:
        """float64 [n, 3]. style: counts the battles' style features, asked only where they are read."""
        if self.baseline.reads_style:
            raw = self.baseline.log_probabilities_with(battles, style())
        else:
            raw = self.baseline.log_probabilities(battles)
        raw = np.asarray(raw, dtype=np.float64)
        return self.finished(raw, style, lambda: guessed_languages_of(battles)) if calibrated else raw

    def finished(self, raw: FloatArray, style: Callable[[], StyleArrays], languages: Languages) -> FloatArray:
        """Calibrated, and drawn towards the prior where a judge is away from home."""
        log_probs = self.calibration.apply(raw)
        return log_probs if self.judge is None else self.judge.away.apply(log_probs, style(), languages)


def class_of(kind: str) -> type[Baseline]:
    """Raises: ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of baseline {kind!r}; expected one of {', '.join(KINDS)}")
    module, _, name = KINDS[kind][0].partition(":")
    kind_class: type[Baseline] = getattr(importlib.import_module(module), name)
    return kind_class


def is_baseline(directory: str | os.PathLike[str]) -> bool:
    """Whether a directory was written by `Baseline.save`."""
    return Path(directory, BASELINE).is_file()


def read_baseline(directory: str | os.PathLike[str]) -> StoredBaseline:
    """The fitted system with its calibration and figures.

    Raises: InputError, one line, naming the file that is missing, broken or of another version.
    """
    folder = Path(directory)
    about = read_json(folder / BASELINE, json_object)
    try:
        kind = class_of(about["kind"])
        options = about["options"]
        if unknown := sorted(set(options) - {field.name for field in fields(kind)}):
            raise ValueError(f"unknown options {', '.join(unknown)}")
        baseline = kind(**options)
        if about["versions"] != dict(kind.versions):
            raise ValueError(f"made with versions {about['versions']} of its features, this is {dict(kind.versions)}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"is broken: {error}", file=folder / BASELINE, fix="train it again") from error
    try:
        baseline.load_state(folder)
    except InputError:
        raise
    except Exception as error:  # each library has its own way of refusing a broken file
        raise InputError(
            f"cannot be read as a {about['kind']} baseline: {error}", file=folder, fix="train it again"
        ) from error
    calibration = read_json(folder / CALIBRATION, Calibration.from_json)
    return StoredBaseline(baseline, calibration, read_json(folder / METRICS, json_object), read_judge(folder))


def open_baseline(
    directory: str | os.PathLike[str], base_model: str | None = None, device: str | None = None
) -> StoredBaseline:
    """`read_baseline`, ready to predict: with this copy of its backbone, or where a judge finds its own.

    Raises: InputError or ModelError, one line.
    """
    stored = read_baseline(directory)
    if stored.judge is not None and stored.judge.weights:
        base_model = str(judge_backbone(stored.judge.weights, base_model))
    if base_model:
        stored.baseline.use_backbone(base_model)
    if device:
        stored.baseline.use_device(device)
    return stored


def verdicts_of(battles: datasets.Dataset) -> FloatArray:
    """float64 [n, 3]. Raises: InputError for a battle without a verdict."""
    verdicts = list(battles["verdict"])
    if None in verdicts:
        raise InputError("has no verdict", row=verdicts.index(None) + 1, column="verdict", expected="labelled battles")
    return np.asarray(verdicts, dtype=np.float64).reshape(-1, 3)
