"""The judges that ship: each is whole, small and says what it is; its backbone is the one it was fitted on."""

import json
from pathlib import Path

import pytest

from experiments.judge_card import card
from experiments.judge_sources import SOURCES
from experiments.ship import RECIPES
from reward_model.baselines.base import open_baseline, read_baseline
from reward_model.errors import ModelError
from reward_model.pretrained.judge_file import JUDGE, JudgeFile
from reward_model.pretrained.judges import DEFAULT, JUDGES, judge_folder, shipped_folder

ROOT = Path(__file__).parents[3]


def test_each_name_has_a_folder_and_a_recipe_and_the_default_needs_no_weights() -> None:
    folders = {path.name for path in (ROOT / "reward_model" / "pretrained").iterdir() if (path / JUDGE).exists()}
    assert folders == set(JUDGES.values()) and set(RECIPES) == set(JUDGES)
    assert not RECIPES[DEFAULT].weights


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_is_small_and_its_card_is_made_of_its_files(name: str) -> None:
    folder = shipped_folder(name)
    files = list(folder.iterdir())
    assert sum(file.stat().st_size for file in files) < 100_000
    assert {file.suffix for file in files} == {".json", ".safetensors", ".md"}
    stored = read_baseline(folder)
    assert stored.judge is not None and stored.judge.name == name
    assert (folder / "README.md").read_text(encoding="utf-8") == card(stored.judge, stored.metrics)
    assert stored.metrics["log_loss"]["value"] < stored.metrics["class_prior_log_loss"] - 0.04
    assert stored.metrics["top_label_calibration_error"]["value"] < 0.05


def test_no_judge_learns_from_a_source_without_a_permissive_licence() -> None:
    for name, recipe in RECIPES.items():
        assert all(SOURCES[study].permissive for study in recipe.extra)
        stored = read_baseline(shipped_folder(name)).judge
        assert stored is not None
        licences = {source.licence for source in stored.trained_on}
        assert licences <= {"Apache-2.0", "MIT", "CC BY 4.0"}


def test_what_lies_in_the_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert judge_folder(DEFAULT) == shipped_folder(DEFAULT)
    assert judge_folder("style") is None
    (tmp_path / DEFAULT).mkdir()
    assert judge_folder(DEFAULT) is None


def test_another_backbone_or_none_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bert: str) -> None:
    folder = shipped_folder("arena-minilm")
    with pytest.raises(ModelError, match="is not minilm, which the judge was fitted on"):
        open_baseline(folder, tiny_bert)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="run arena-reward weights minilm while online"):
        open_baseline(folder)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": 2}, "this version reads 1"),
        ({"name": ""}, "expected a line of text"),
        ({"weights": "gpt"}, "expected one of"),
        ({"trained_on": [{"name": "x"}]}, "no list of objects"),
        ({"trained_on": [{"name": "x", "battles": 0, "licence": "MIT"}]}, "above 0"),
        ({"away": None}, "'away' is no object"),
        ({"more": 1}, "more is missing or unknown"),
    ],
)
def test_a_file_that_is_broken_is_refused_in_one_line(change: dict[str, object], match: str) -> None:
    stored = json.loads((shipped_folder(DEFAULT) / JUDGE).read_text(encoding="utf-8"))
    assert JudgeFile.from_json(stored).to_json() == stored
    with pytest.raises(ValueError, match=match) as refused:
        JudgeFile.from_json(stored | change)
    assert "\n" not in str(refused.value)
