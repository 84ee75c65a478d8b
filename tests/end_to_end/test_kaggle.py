"""The Kaggle bundle: its notebook runs without a network, in an environment of the image's packages and its own wheels.

`pytest --kaggle_python P tests/end_to_end/test_kaggle.py` does so with another environment (docs/kaggle.md).
"""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from arena_data.file_io import write_json
from reward_model.baselines.base import class_of
from reward_model.calibration.blending import Blend
from reward_model.calibration.calibration import Calibration
from reward_model.cli import predict
from reward_model.publish import kaggle_bundle
from reward_model.publish.kaggle_bundle import bundle
from tests.helpers.kaggle_notebook import (
    code_cells,
    execute,
    image_from,
    image_like_this,
    lay_out,
    probabilities,
)
from tests.helpers.made_battles import Make
from tests.helpers.run_directories import make_run

FLAGS = ["--dtype", "float32"]


def make_blend(folder: Path, make: dict[str, Make]) -> Path:
    """A blend of an adapter and of boosted trees, with a calibration that matters."""
    trees = class_of("lightgbm")(rounds=20, patience=5)  # type: ignore[call-arg]
    trees.fit(make["words"](150, 1))
    trees.save(folder / "trees", Calibration("temperature", {"temperature": 1.5}))
    members, calibration = ("../tiny-run", "../trees"), Calibration("temperature", {"temperature": 3.0})
    write_json(folder / "mixed" / "blend.json", Blend(members, (0.6, 0.4), "linear", calibration).to_json())
    return folder / "mixed"


@pytest.mark.parametrize("kind", ["run", "blend"])
def test_the_notebook_makes_the_submission_offline(
    kind: str, tmp_path: Path, make: dict[str, Make], request: pytest.FixtureRequest
) -> None:
    other = request.config.getoption("--kaggle_python")
    if kind == "run" and not other:
        pytest.skip("the blend has a run in it")
    # 1. A bundle in two datasets, and the competition, as Kaggle lays them out.
    run = model = make_run(tmp_path / "models" / "tiny-run", model_type="adapter")
    if kind == "blend":
        (tmp_path / "models" / "mixed").mkdir()
        model = make_blend(tmp_path / "models", make)
    command = [other or sys.executable, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    python_version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    output = tmp_path / "b"
    datasets = bundle(
        [str(model)], str(output), slug="arena-mix", pythons=[python_version], limit=100_000_000, flags=FLAGS
    )
    assert [path.name for path in datasets] == ["arena-mix", "arena-mix-2"]
    battles, working = lay_out(datasets, output / "notebook" / "submit.ipynb", tmp_path)
    # The models as they were, and all that was tracked in this repository, must not be needed.
    expected = tmp_path / "expected.csv"
    named = ["--model", str(model), "--input", str(battles), "--output", str(expected)]
    assert predict.main([*named, *FLAGS, "--quiet"]) == 0
    shutil.rmtree(run.parent)

    # 2. Run by nbconvert in a fresh environment, cut off from the network.
    if other:
        python = image_from(Path(other), tmp_path)
    else:
        python = image_like_this(tmp_path)
        bare = [str(python), "-c", "import torch, pandas, transformers"]
        assert b"No module named 'transformers'" in subprocess.run(bare, capture_output=True).stderr
    execute(python, working)

    # 3. The same submission as anywhere else, and it is shown.
    np.testing.assert_allclose(
        probabilities(working / "submission.csv", battles), probabilities(expected, battles), atol=1e-5
    )
    cells = nbformat.read(working / "done.ipynb", as_version=4).cells
    shown = "".join(str(output) for cell in cells for output in cell.get("outputs", []))
    assert "submission.csv: 12 rows, complete" in shown and "winner_tie" in shown


def test_a_submission_in_which_rows_have_the_prior_is_not_called_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kaggle_bundle, "download", lambda *arguments: [])
    monkeypatch.setattr(kaggle_bundle, "hashed_requirements", lambda *arguments: "")
    run, output = make_run(tmp_path / "a-run"), tmp_path / "b"
    datasets = bundle([str(run)], str(output), flags=[*FLAGS, "--device", "cpu", "--time_limit", "0.001s"])
    _, working = lay_out(datasets, output / "notebook" / "submit.ipynb", tmp_path)
    monkeypatch.chdir(working)
    names: dict[str, object] = {}
    for source in code_cells(working / "submit.ipynb"):
        if "pip" not in source:
            exec(compile(source, "cell", "exec"), names)
    shown = capsys.readouterr().out
    assert "12 rows could not be scored and have the prior" in shown
    assert "submission.csv: 12 rows, NOT complete" in shown
