"""Makes the judges that ship anew, each with its figures and its card: python -m experiments.ship [--judges NAME …]

Each is fitted on all battles of arena/train.csv and extra.jsonl, and on other studies whose licence lets anyone use what is
learned from them. Its calibration is fitted on predictions of five grouped folds; its figures are of those predictions, each
calibrated by a fit on the other folds. What it keeps of its certainty away from home is fitted across sources, each
predicted without having been learned from. A judge's bias is measured too. No battle is stored: a judge is scales, weights
and figures. The same data and libraries give the same judge, but for rounding.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from arena_data.errors import InputError
from arena_data.file_io import write_atomically, write_json
from arena_data.loading import load_battles
from arena_data.quiet import quiet_datasets
from arena_data.splits.extra_battles import rows_without_links
from arena_data.splits.folds import drop_duplicates, grouped_folds
from arena_data.style.features import style_arrays
from benchmarks.leaderboard.systems import placed_battles, train_files
from experiments.away_rule import SourcePredictions, fitted_rule
from experiments.judge_card import card
from experiments.judge_figures import Figured, Home, figures_of
from experiments.judge_sources import SOURCES, file_of
from reward_model.baselines.base import Baseline, FloatArray, StoredBaseline, class_of, verdicts_of
from reward_model.baselines.classical.lengths import side_free
from reward_model.baselines.regression.frozen import Frozen
from reward_model.baselines.regression.style import StyleRegression
from reward_model.calibration import calibration
from reward_model.pretrained.away import Situation
from reward_model.pretrained.backbones import judge_backbone
from reward_model.pretrained.judge_file import JUDGE, JudgeFile, Source
from reward_model.pretrained.judges import JUDGES, shipped_folder

FOLDS = 5


@dataclass(frozen=True)
class Recipe:
    """How a judge is made.

    Args:
        kind, options: of the baseline.
        extra: studies that it also learns from, names of `SOURCES`.
        elsewhere: sources that it is tried on, each by a fit without that source; the rule away from home is fitted on them.
        audited: battles that each change of the bias audit is tried on.
        weights: of its backbone, a key of `reward_model.weights.WEIGHTS`.
    """

    kind: str
    reads: str
    caution: str
    options: dict[str, Any] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    audited: int = 500
    weights: str = ""


# Where a judge may be away from home; the share that it keeps there is fitted (`experiments.away_rule`). One turn has no
# deviation of lengths, and of several turns hardly any two are equally long.
SITUATIONS = (
    Situation("not in English", keep=1.0, languages=("English",)),
    Situation("several turns", keep=1.0, feature="length_deviation", high=1e-6),
)

RECIPES = {
    "arena-style": Recipe(
        kind="style",
        reads="length, lists, headings, bold, code, refusals and the like; no word",
        caution="it counts length, lists and the like and reads no word; it tells how people tend to vote, "
        "not which response is right",
        extra=("tulu_human_eval", "pandalm", "mtbench_webgpt", "tldr"),
        elsewhere=tuple(SOURCES),
    ),
    "arena-minilm": Recipe(
        kind="frozen",
        reads="style, and the vectors of a frozen all-MiniLM-L6-v2 over the first and last of 256 tokens",
        caution="a small model that knows topics and tone beside style; it tells how people tend to vote, "
        "not which response is right",
        options={"model_name_or_path": "minilm", "max_length": 256, "dtype": "float32", "pooling": "normalized"},
        extra=("mtbench_webgpt", "tulu_human_eval", "pandalm"),
        elsewhere=("mtbench_webgpt", "tulu_human_eval", "pandalm"),
        audited=60,
        weights="minilm",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 2 for what a person has to mend."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ship", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--judges", nargs="+", choices=list(JUDGES), metavar="NAME", help="these; else all")
    parser.add_argument("--data_dir", default="../shared/data", type=Path, help="with the folders arena/ and other/")
    parser.add_argument("--output_dir", type=Path, help="folder for the judges (default: the package's own)")
    parser.add_argument("--cache_dir", default="runs/experiments/embeddings", type=Path, help="of read texts")
    options = parser.parse_args(arguments)
    try:
        with quiet_datasets():
            for name in options.judges or JUDGES:
                folder = options.output_dir / JUDGES[name] if options.output_dir else shipped_folder(name)
                figures = ship(name, RECIPES[name], folder, options.data_dir, options.cache_dir)
                print(f"{name}: log loss {figures['log_loss']['value']:.4f} in {folder}")
    except (InputError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def ship(name: str, recipe: Recipe, folder: Path, data_dir: Path, cache_dir: Path) -> dict[str, Any]:
    """Fits, measures and writes one judge; returns its figures. Raises: InputError for battles that cannot be read."""
    battles = placed_battles(train_files(data_dir))
    studies = {study: read_study(study, data_dir) for study in {*recipe.extra, *recipe.elsewhere}}
    make = partial(new_baseline, recipe, cache_dir)

    def fitted(rows: datasets.Dataset, *held_out: datasets.Dataset, without: str = "") -> Baseline:
        extra = [
            studies[study].select(rows_without_links(studies[study], *held_out))
            for study in recipe.extra
            if study != without
        ]
        baseline = make()
        baseline.fit(rows, drop_duplicates(datasets.concatenate_datasets(extra))[0] if extra else None)
        return baseline

    # 1. Predictions of battles that were not learned from, and what calibrates them.
    fold = grouped_folds(battles, FOLDS)
    raw = np.zeros((len(battles), 3))
    for number in range(FOLDS):
        held_out = battles.select(np.flatnonzero(fold == number))
        rest = battles.select(np.flatnonzero(fold != number))
        raw[fold == number] = fitted(rest, held_out).log_probabilities(held_out)
    verdicts, groups = verdicts_of(battles), np.asarray(list(battles["group"]))
    calibrated = cross_calibrated(raw, verdicts, groups, fold)

    # 2. What it says of other sources, without having learned from them.
    baseline = fitted(battles)
    whole = calibration.fit(raw, verdicts, groups.tolist())
    elsewhere = {}
    for study in recipe.elsewhere:
        stranger = fitted(battles, without=study) if study in recipe.extra else baseline
        elsewhere[study] = SourcePredictions.of(studies[study], whole.apply(stranger.log_probabilities(studies[study])))

    # 3. The judge; the rule that its own figures are of was fitted on the other folds.
    prior = side_free(verdicts.mean(axis=0))
    own = SourcePredictions.of(battles, calibrated)
    ruled = np.zeros_like(calibrated)
    for number in range(FOLDS):
        others = [own.rows(fold != number), *elsewhere.values()]
        ruled[fold == number] = own.rows(fold == number).ruled(fitted_rule(prior, SITUATIONS, others))
    about = JudgeFile(
        name=name,
        reads=recipe.reads,
        caution=recipe.caution,
        trained_on=trained_on(battles, recipe, studies, baseline),
        away=fitted_rule(prior, SITUATIONS, [own, *elsewhere.values()]),
        weights=recipe.weights,
    )
    judge = StoredBaseline(baseline, whole, {}, about)

    # 4. Figures, and files.
    home = Home(battles, verdicts, groups, ruled, prior)
    figured = {study: Figured(studies[study], source.ruled(about.away)) for study, source in elsewhere.items()}
    figures = figures_of(home, figured, partial(predicted, judge), recipe.audited) | {"rule_fitted": True}
    judge.baseline.save(folder, whole, figures)
    write_json(folder / JUDGE, about.to_json())
    write_atomically(folder / "README.md", card(about, figures))
    return figures


def new_baseline(recipe: Recipe, cache_dir: Path) -> Baseline:
    """Not fitted; a frozen backbone's vectors are kept in the folder."""
    baseline = class_of(recipe.kind)(**recipe.options)
    if isinstance(baseline, Frozen):
        baseline.use_backbone(str(judge_backbone(recipe.weights)))
        baseline.embedder.cache_dir = cache_dir
    return baseline


def predicted(judge: StoredBaseline, battles: datasets.Dataset) -> FloatArray:
    """float64 [n, 3], as a user of the judge has them."""
    style = style_arrays(battles, num_proc=1, progress=False)
    return judge.predict(battles, lambda: style, calibrated=True)


def read_study(name: str, data_dir: Path) -> datasets.Dataset:
    """Each judgement once, under one source: the study's file."""
    battles = load_battles(file_of(name, data_dir), labels="required")
    if part := SOURCES[name].part:
        battles = battles.select([row for row, source in enumerate(battles["source"]) if source == part])
    battles, _ = drop_duplicates(battles)
    return battles.remove_columns("source").add_column("source", [name] * len(battles)).cast(battles.features)


def cross_calibrated(raw: FloatArray, verdicts: FloatArray, groups: np.ndarray, fold: np.ndarray) -> FloatArray:
    """float64 [n, 3]: each fold's predictions by a map fitted on the other folds'."""
    calibrated = np.zeros_like(raw)
    for number in range(FOLDS):
        rest = fold != number
        fit = calibration.fit(raw[rest], verdicts[rest], groups[rest].tolist())
        calibrated[~rest] = fit.apply(raw[~rest])
    return calibrated


def trained_on(
    battles: datasets.Dataset, recipe: Recipe, studies: dict[str, datasets.Dataset], baseline: Baseline
) -> tuple[Source, ...]:
    """The arena's battles, and the studies unless cross-validation left them out."""
    own = Source("Chatbot Arena (lmsys-arena-human-preference-55k), a sample", len(battles), "Apache-2.0")
    if isinstance(baseline, StyleRegression | Frozen) and not baseline.settings.closeness:
        return (own,)
    others = [Source(SOURCES[study].title, len(studies[study]), SOURCES[study].licence) for study in recipe.extra]
    return (own, *others)


if __name__ == "__main__":
    sys.exit(main())
