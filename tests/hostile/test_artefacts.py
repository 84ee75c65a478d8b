"""Any JSON value in any field of an artefact's files: it is read, or refused in one line; never a traceback."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reward_model.baselines.classical.lightgbm_text import checked
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


@pytest.fixture(scope="module")
def lightgbm_text() -> str:
    lightgbm = pytest.importorskip("lightgbm")
    random = np.random.default_rng(0)
    parameters = {"objective": "multiclass", "num_class": 3, "num_leaves": 5, "verbosity": -1, "num_threads": 1}
    data = lightgbm.Dataset(random.standard_normal((200, 3)), random.integers(0, 3, 200))
    return str(lightgbm.train(parameters, data, 2).model_to_string())


def test_a_lightgbm_model_that_is_cut_is_refused(lightgbm_text: str) -> None:
    text = lightgbm_text
    assert checked(text) == text
    for cut in ("", text[:40], text[: len(text) // 4], text[: text.index("end of trees")]):
        with pytest.raises(ValueError, match="not whole"):
            checked(cut)


@pytest.mark.parametrize(
    "field, value",
    [
        ("split_feature", "3"),
        ("split_feature", "-1"),
        ("left_child", "0"),
        ("left_child", "9999999"),
        ("right_child", "-9"),
        ("right_child", "1.5"),
        ("decision_type", "1"),
        ("threshold", "nan"),
        ("leaf_value", "x"),
        ("num_leaves", "900"),
        ("num_leaves", "99999999999999999999"),
        ("num_cat", "2"),
        ("num_class", "4"),
        ("max_feature_idx", "1"),
    ],
)
def test_a_lightgbm_model_that_is_changed_inside_a_tree_is_refused(lightgbm_text: str, field: str, value: str) -> None:
    changed = re.sub(rf"(?m)^{field}=[^ \n]*", f"{field}={value}", lightgbm_text, count=1)
    assert changed != lightgbm_text
    with pytest.raises(ValueError, match="LightGBM"):
        checked(changed)
