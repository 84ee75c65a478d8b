"""The rows of the leaderboard that are trained: what each one is, and how one fold of it is run."""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from arena_data.loading import load_battles
from arena_data.splits.extra_battles import rows_without_links
from arena_data.splits.folds import drop_duplicates
from arena_data.splits.linking import DEALER_VERSION, link_battles
from benchmarks.leaderboard.results import Predictions
from reward_model.baselines.base import Baseline, class_of, verdicts_of
from reward_model.baselines.regression.frozen import Frozen
from reward_model.baselines.training import calibrate

# In the folder arena/; the other files of extra battles are in other/.
NO_TIES = ("no_ties",)
ARENA_FILES = (*NO_TIES, "both_bad")
NEURAL_FLAGS = ("model_name_or_path", "max_length", "num_train_epochs", "learning_rate", "batch_tokens", "bf16")
# People's judgements of chat answers, ties recorded. Left out: adversarial pairs (llmbar), 13 prompts (llmfao) and models
# of 2022 without ties (hh_helpful).
OTHER = ("tulu_human_eval", "autoj", "pandalm", "mtbench_webgpt", "tldr", "both_bad")


@dataclass(frozen=True)
class System:
    """One row.

    Args:
        about: what it is, for the page.
        kind: of `reward_model.baselines.base.KINDS`; empty for our own reward model and its peers.
        options: of the kind.
        extra: names of files of further battles to learn from.
        flags: of `train_reward.py`, for our own reward model.
        peer: `trl` or `three_way`, of `benchmarks.leaderboard.peers`.
        neural: whether it reads with the backbone that the command names.
    """

    about: str
    kind: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    neural: bool = False
    peer: str = ""

    def made_by(self, options: argparse.Namespace) -> dict[str, Any]:
        """All that the result depends on apart from code and battles: results that say something else are made again."""
        made: dict[str, Any] = {"kind": self.kind, "options": self.options, "extra": list(self.extra)}
        made["dealer"] = DEALER_VERSION
        if self.flags:
            made["flags"] = list(self.flags)
        if self.peer:
            made["peer"] = self.peer
        return made | ({name: getattr(options, name) for name in NEURAL_FLAGS} if self.neural else {})


SYSTEMS: dict[str, System] = {
    "prior": System("shares of A, B and tie", "prior"),
    "length_buckets": System("mean verdict in quantiles of the difference in length", "length_buckets"),
    "length_tree": System("decision tree on lengths", "length_tree"),
    "style": System("Davidson regression on style features", "style"),
    "style_no_ties": System(
        "style, and 3,249 arena battles without ties, given that they are none", "style", {}, NO_TIES
    ),
    "style_other": System(
        "style, and 4,270 battles from six other sources, tastes and tie rates their own", "style", {}, OTHER
    ),
    "style_all_data": System("style, and both of these", "style", {}, NO_TIES + OTHER),
    "tfidf_logistic": System("TF-IDF of words and pairs of words, logistic regression", "tfidf_logistic"),
    "tfidf_logistic_clean": System(
        "TF-IDF of lemmas without stop words, logistic regression", "tfidf_logistic", {"clean": True}
    ),
    "tfidf_logistic_char": System(
        "TF-IDF of runs of 1 to 4 characters, logistic regression", "tfidf_logistic", {"analyzer": "char"}
    ),
    "tfidf_svm": System("TF-IDF of words and pairs, linear SVM with Platt's probabilities", "tfidf_svm"),
    "tfidf_forest": System("TF-IDF of words and pairs, random forest", "tfidf_forest"),
    "lightgbm": System("boosted trees on word counts and text statistics", "lightgbm"),
    "frozen": System("Davidson regression on a frozen backbone's vectors and on style", "frozen", neural=True),
    "frozen_other": System(
        "frozen, and 4,270 battles from six other sources, tastes and tie rates their own",
        "frozen",
        {},
        OTHER,
        neural=True,
    ),
    "frozen_likelihood": System(
        "frozen, states after 16 layers and how likely a language model finds each response",
        "frozen",
        {"layer": 16, "likelihood": True},
        neural=True,
    ),
    "cross_encoder": System("three labels over [prompt, A, B], plain Trainer", "cross_encoder", neural=True),
    "siamese": System("siamese, with length features, smoothing, perturbed weights", "siamese", neural=True),
    "trl": System("TRL's RewardTrainer without ties, its margin through a Rao–Kupper link", neural=True, peer="trl"),
    "three_way": System(
        "three labels over [prompt, A, B] in one order, plain Trainer, as many tokens as ours",
        neural=True,
        peer="three_way",
    ),
    "separate": System(
        "our reward model, each side by itself, no style head",
        flags=("--encoding", "separate", "--style", "false"),
        neural=True,
    ),
    "separate_style": System(
        "our reward model, each side by itself", flags=("--encoding", "separate", "--style", "true"), neural=True
    ),
    "joint_style": System(
        "our reward model, both sides at once", flags=("--encoding", "joint", "--style", "true"), neural=True
    ),
}


def train_files(data_dir: Path) -> list[Path]:
    """The battles that every system is trained and judged on."""
    return [data_dir / "arena" / "train.csv", data_dir / "arena" / "extra.jsonl"]


def placed_battles(files: Sequence[str | Path]) -> datasets.Dataset:
    """Each battle once, with its `place` among them. Raises: InputError for battles that cannot be read."""
    [linked], _ = link_battles(load_battles(files, labels="required"))
    battles, _ = drop_duplicates(linked)
    return battles.add_column("place", list(range(len(battles))))


def neural_options(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """The command's flags that a neural baseline takes."""
    known = {field.name for field in fields(class_of(kind))}
    return {name: getattr(options, name) for name in NEURAL_FLAGS if name in known}


def run_fold(
    system: System, options: argparse.Namespace, parts: dict[str, datasets.Dataset], extra: datasets.Dataset | None
) -> Predictions:
    """One fold of a baseline. A frozen backbone reads a text for the first fold alone; its time counts for every fold."""
    more = neural_options(system.kind, options) if system.neural else {}
    baseline: Baseline = class_of(system.kind)(**system.options, **more)
    if not isinstance(baseline, Frozen):
        return run_baseline(baseline, parts, extra, system.made_by(options))
    embedder = baseline.embedder
    embedder.cache_dir = options.output_dir / "embeddings"
    return run_baseline(
        baseline, parts, extra, system.made_by(options), lambda: time.perf_counter() + embedder.saved_seconds
    )


def run_baseline(
    baseline: Baseline,
    parts: dict[str, datasets.Dataset],
    extra: datasets.Dataset | None,
    about: dict[str, Any],
    clock: Callable[[], float] = time.perf_counter,
) -> Predictions:
    """Trains on one part, calibrates on the second, predicts the third, and saves once to see how large it is."""
    held_out = parts["validation"]
    started = clock()
    baseline.fit(
        parts["train"],
        extra.select(rows_without_links(extra, parts["validation"], parts["calibration"])) if extra else None,
    )
    trained = clock()
    raw = baseline.log_probabilities(held_out)
    predicted = clock()
    fitted = calibrate(baseline, parts["calibration"])
    with tempfile.TemporaryDirectory() as directory:
        baseline.save(directory, fitted)
        size = sum(file.stat().st_size for file in Path(directory).rglob("*") if file.is_file())
    return Predictions(
        raw=raw,
        calibrated=fitted.apply(raw),
        verdicts=verdicts_of(held_out),
        groups=np.asarray(list(held_out["group"])),
        index=np.asarray(held_out["place"], dtype=np.int64),
        raw_calibration=baseline.log_probabilities(parts["calibration"]),
        verdicts_calibration=verdicts_of(parts["calibration"]),
        train_seconds=trained - started,
        predict_seconds=predicted - trained,
        size=float(size),
        about=about,
    )
