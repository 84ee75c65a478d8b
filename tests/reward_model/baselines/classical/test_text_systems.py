"""What is particular to the systems that read words: cleaning, safe files, and the search for parameters."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from arena_data.errors import InputError
from reward_model.baselines import skops_files
from reward_model.baselines.classical.boosting import DEFAULTS, BoostedTrees
from reward_model.baselines.classical.lemmas import clean
from reward_model.baselines.classical.tfidf import TfIdfLogistic
from tests.helpers.made_battles import Make


def test_cleaning_leaves_the_lemmas_of_the_words_that_are_no_stop_words() -> None:
    assert clean("The mice WERE running, and it's better!") == "mouse run good"
    assert clean("猫 はいい") != ""
    assert clean("") == ""


def test_cleaning_makes_inflected_words_one(make: dict[str, Make]) -> None:
    battles = make["words"](60, 1)
    texts = [[text + " runs" for text in turns] for turns in battles["response_a"]]
    other = [[text + " running" for text in turns] for turns in battles["response_a"]]
    cleaned, plain = TfIdfLogistic(clean=True), TfIdfLogistic()
    for baseline in (cleaned, plain):
        baseline.fit(battles.remove_columns("response_a").add_column("response_a", texts))
    pair = [battles.remove_columns("response_a").add_column("response_a", column) for column in (texts, other)]
    same, differing = ([baseline.log_probabilities(side) for side in pair] for baseline in (cleaned, plain))
    np.testing.assert_array_equal(*same)
    assert not np.array_equal(*differing)


def test_a_file_with_other_types_is_refused_before_they_are_made(tmp_path: Path) -> None:
    skops.io.dump(FunctionTransformer(print), tmp_path / "x.skops")
    with pytest.raises(InputError, match="not trusted"):
        skops_files.load(tmp_path / "x.skops")


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"PK"], ids=["empty", "pickle", "half"])
def test_a_broken_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.skops").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.skops"):
        skops_files.load(tmp_path / "x.skops")


def test_a_skops_file_is_a_zip_of_json_and_arrays(tmp_path: Path, make: dict[str, Make]) -> None:
    baseline = TfIdfLogistic()
    baseline.fit(make["words"](60, 1))
    baseline.save(tmp_path)
    with zipfile.ZipFile(io.BytesIO((tmp_path / "classifier.skops").read_bytes())) as stored:
        assert {Path(name).suffix for name in stored.namelist()} <= {".json", ".npy", ".npz"}


def test_the_search_keeps_the_best_of_its_trials_and_starts_from_what_is_set(make: dict[str, Make]) -> None:
    battles = make["words"](200, 1)
    options = {"rounds": 40, "patience": 5}
    plain, searched = BoostedTrees(**options), BoostedTrees(**options, search=3)
    plain.fit(battles)
    searched.fit(battles)
    assert plain.parameters == DEFAULTS
    assert set(searched.parameters) == set(DEFAULTS)
    assert searched.log_loss <= plain.log_loss
