"""A run directory becomes the model that was trained, merged, quantised or as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reward_model.errors import ModelError
from reward_model.run_directory.load_model import LoadOptions
from tests.helpers.predictions import predictor
from tests.helpers.run_directories import make_run


def test_merged_adapters_score_as_unmerged_ones(
    runs: dict[str, Path], battles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = predictor(runs["llama-adapter"]).predict(battles)
    np.testing.assert_allclose(predictor(runs["llama-adapter"], merge=True).predict(battles), expected, atol=1e-4)
    monkeypatch.setattr("reward_model.run_directory.load_model.MERGE_TOLERANCE", 1e-12)
    with pytest.raises(ModelError, match="leave out --merge"):
        predictor(runs["llama-adapter"], merge=True).predict(battles)


@pytest.mark.parametrize("flag", ["load_in_4bit", "load_in_8bit"])
def test_quantised_backbones_keep_their_score_layer(flag: str, runs: dict[str, Path], battles: Any) -> None:
    options = {flag: True}
    exact = predictor(runs["llama-adapter"]).predict(battles)
    model = predictor(runs["llama-adapter"], **options)
    predicted = model.predict(battles)
    assert np.abs(np.exp(predicted) - np.exp(exact)).max() > 0
    assert np.corrcoef(predicted[:, 2], exact[:, 2])[0, 1] > 0.3
    with pytest.raises(ModelError, match="full precision"):
        LoadOptions(merge=True, **options)


def test_a_backbone_on_disk_overrides_the_one_named(tmp_path: Path, battles: Any) -> None:
    run = make_run(tmp_path / "run", model_type="adapter")
    expected = predictor(run).predict(battles)
    (tmp_path / "run-backbone").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"run-backbone.*not on this disk.*--base_model"):
        predictor(run).predict(battles)
    predicted = predictor(run, base_model=[str(tmp_path / "elsewhere")]).predict(battles)
    np.testing.assert_array_equal(predicted, expected)
