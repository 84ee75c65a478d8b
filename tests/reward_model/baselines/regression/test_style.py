"""The style regression outside of what it was fitted on: no surer than at the edge, and mirrored by a swap."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from arena_data.style.features import StyleArrays, style_arrays
from reward_model.baselines.base import read_baseline
from reward_model.baselines.regression import davidson
from reward_model.baselines.regression.davidson import Design
from reward_model.baselines.regression.style import ARRAYS, StyleRegression, regression_features
from reward_model.calibration.calibration import Calibration
from tests.helpers.made_battles import Make

Fitted = tuple[StyleRegression, StyleArrays]


@pytest.fixture(scope="module")
def fitted(make: dict[str, Make]) -> Fitted:
    """The regression, and the style of what it learned from."""
    battles = make["length"](200, 1)
    baseline = StyleRegression()
    baseline.fit(battles)
    return baseline, style_arrays(battles, progress=False)


def far_from(style: StyleArrays, times: float) -> StyleArrays:
    """The same differences, so many times as wide, about the same middles."""
    middle, half = (style.a + style.b) / 2, (style.a - style.b) / 2
    return StyleArrays(middle + times * half, middle - times * half, style.similarity)


def test_far_outside_of_training_it_is_no_surer_than_at_the_edge(fitted: Fitted) -> None:
    baseline, style = fitted
    features, far = (regression_features(baseline.scale, given) for given in (style, far_from(style, 50.0)))
    for seen, held in zip(features, far, strict=True):
        # Every feature stays where training has been, whichever side was called A.
        assert (held <= np.maximum(seen.max(axis=0), -seen.min(axis=0)) + 1e-6).all()
    assert (far[1] >= features[1].min(axis=0) - 1e-6).all()
    surest = baseline.log_probabilities_of(far_from(style, 50.0))
    endless = baseline.scale._replace(reach=type(baseline.scale.reach).endless(style.a.shape[1]))
    unheld = davidson.log_probabilities(
        Design.plain(*regression_features(endless, far_from(style, 50.0))), baseline.weights
    )
    assert unheld.max(axis=1).mean() > surest.max(axis=1).mean()


def test_a_swap_gives_the_mirror_beyond_the_range_too(fitted: Fitted) -> None:
    baseline, style = fitted
    far = far_from(style, 5.0)
    turned = baseline.log_probabilities_of(StyleArrays(far.b, far.a, far.similarity))
    np.testing.assert_array_equal(baseline.log_probabilities_of(far)[:, [1, 0, 2]], turned)


def test_a_file_of_an_older_version_predicts_without_a_range(fitted: Fitted, tmp_path: Path) -> None:
    baseline, style = fitted
    baseline.save(tmp_path, Calibration(), {})
    arrays = load_file(tmp_path / ARRAYS)
    save_file({name: values for name, values in arrays.items() if not name.startswith("reach_")}, tmp_path / ARRAYS)
    older = read_baseline(tmp_path).baseline
    assert isinstance(older, StyleRegression)
    far = far_from(style, 50.0)
    # As it was computed before there was a range.
    a, b = (baseline.scale.side.apply(side).astype(np.float64) for side in (far.a, far.b))
    odd = np.concatenate([a - b, np.tanh(a - b)], axis=1)
    even = np.concatenate([baseline.scale.pair.apply(far.pair), (a + b) / 2], axis=1)
    np.testing.assert_array_equal(
        older.log_probabilities_of(far), davidson.log_probabilities(Design.plain(odd, even), baseline.weights)
    )
    np.testing.assert_array_equal(older.log_probabilities_of(style), baseline.log_probabilities_of(style))
