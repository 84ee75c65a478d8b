"""Making a judge: its files are whole, hold no word of a battle, and come out the same again."""

import csv
import json
from pathlib import Path

import datasets
import numpy as np
import pytest

from experiments import ship
from experiments.ship import RECIPES, Recipe
from reward_model.baselines.base import read_baseline
from tests.helpers.made_battles import Make, write_battles

COLUMNS = ("prompt", "response_a", "response_b")
WORDS = ("river", "stone", "candle", "Question")


@pytest.fixture(scope="module")
def data_dir(make: dict[str, Make], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("arena/train", 150), ("arena/extra", 50), ("other/pandalm", 60), ("other/llmbar", 40)):
        (folder / name).parent.mkdir(exist_ok=True)
        battles = make["length"](count, len(name), tie_rate=0.0 if name.endswith("llmbar") else 0.3, source=name)
        if name == "arena/train":
            write_csv(folder / f"{name}.csv", battles)
        else:
            write_battles(folder / f"{name}.jsonl", battles)
    return folder


def write_csv(path: Path, battles: datasets.Dataset) -> None:
    """In the format of the competition."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", *COLUMNS, "winner_model_a", "winner_model_b", "winner_tie"])
        for row in battles:
            writer.writerow([row["id"], *(json.dumps(row[name]) for name in COLUMNS), *map(int, row["verdict"])])


def test_a_judge_is_made_whole_and_the_same_again(data_dir: Path, tmp_path: Path) -> None:
    recipe = Recipe("style", "lengths", "made up", extra=("pandalm",), elsewhere=("pandalm", "llmbar"), audited=5)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        ship.ship("arena-style", recipe, folder, data_dir, tmp_path / "cache")
    first, second = (read_baseline(folder) for folder in folders)
    assert first.judge is not None and second.metrics == first.metrics
    # A study that cross-validation gives no weight is not named: nothing was learned from it.
    learned = [200, 60] if first.baseline.settings.closeness else [200]  # type: ignore[attr-defined]
    assert [source.battles for source in first.judge.trained_on] == learned
    for name, values in first.baseline.weights.arrays().items():  # type: ignore[attr-defined]
        np.testing.assert_allclose(values, second.baseline.weights.arrays()[name], atol=1e-12)  # type: ignore[attr-defined]
    assert first.metrics["log_loss"]["value"] < first.metrics["class_prior_log_loss"] - 0.05
    assert [row["ties"] for row in first.metrics["elsewhere"]] == [True, False]
    for file in folders[0].iterdir():
        assert not any(word.encode() in file.read_bytes() for word in WORDS), file.name


def test_every_recipe_is_of_a_judge_and_learns_from_named_studies() -> None:
    for recipe in RECIPES.values():
        assert len(recipe.caution) < 200 and set(recipe.extra) <= set(ship.SOURCES)
