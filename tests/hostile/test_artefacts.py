"""Any JSON value in any field of an artefact's files: it is read, or refused in one line; never a traceback."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reward_model.baselines.classical.boosting import _whole
from reward_model.run_directory.reading import read_run
from tests.helpers.run_directories import make_run

HUGE = 10**400
VALUES = st.one_of(
    st.sampled_from([None, True, -1, 0, HUGE, -HUGE, 1e308, "", "x", [], {}, [None], [HUGE] * 3, ["a"], {"a": HUGE}]),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.floats(), max_size=4),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", kind="bert")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(run, tmp_path / "run"))


@pytest.mark.parametrize("name", ["reward_config.json", "calibration.json", "metrics.json"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_field(copy: Path, run: Path, name: str, data: Any) -> None:
    content = json.loads((run / name).read_text())
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(VALUES)
    (copy / name).write_text(json.dumps(content))
    try:
        prior = read_run(copy).metrics["prior"]
        assert len(prior) == 3 and all(0 <= share <= 1 for share in prior)
    except ValueError as error:
        assert name in str(error) and "\n" not in str(error) and len(str(error)) < 2000


def test_a_lightgbm_model_that_is_cut_is_refused() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    import numpy as np

    features = np.random.default_rng(0).standard_normal((200, 3))
    text = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(features, features[:, 0]), 5).model_to_string()
    assert _whole(text) == text
    for cut in ("", text[:40], text[: len(text) // 4], text[: text.index("end of trees")]):
        with pytest.raises(ValueError, match="not whole"):
            _whole(cut)
