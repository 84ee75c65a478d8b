"""The Kaggle bundle: its notebook runs without a network, in an environment of the image's packages and its own wheels."""

import csv
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import numpy as np
import pytest
from packaging.requirements import Requirement

from arena_data.errors import InputError
from reward_model.cli import predict
from reward_model.cli.kaggle import main
from reward_model.publish.kaggle_bundle import Parts, bundle
from reward_model.publish.kaggle_wheels import hashed_requirements, pinned, sha256
from tests.helpers.run_directories import make_run

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "arena_data" / "sample.csv"
# What requirements-kaggle.txt says that the image brings, and what runs a notebook there.
IMAGE = (
    "torch",
    "numpy",
    "pandas",
    "scipy",
    "psutil",
    "pyyaml",
    "jinja2",
    "rich",
    "shellingham",
    "pydantic",
    "ipykernel",
)
BLOCKED = """
import socket
real = socket.socket.connect
def refuse(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise OSError("no network")
    return real(self, address)
socket.socket.connect = refuse
"""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def image_packages() -> set[str]:
    """The image's packages and what they need, and no more."""
    found: set[str] = set()
    waiting = list(IMAGE)
    while waiting:
        name = plain(waiting.pop())
        if name in found:
            continue
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # what torch needs for a GPU
        found.add(name)
        requirements = [Requirement(line) for line in needed]
        waiting += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def make_environment(folder: Path) -> Path:
    """A fresh virtual environment that sees the image's packages and nothing else of this one; returns its Python."""
    venv.create(folder / "venv", with_pip=True)
    image = folder / "image"
    image.mkdir()
    for name in image_packages():
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (image / top).exists():
                (image / top).symlink_to(source)
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "image.pth").write_text(f"{image}\n")
    if not can_unshare():
        (packages / "sitecustomize.py").write_text(BLOCKED)
    return folder / "venv" / "bin" / "python"


def can_unshare() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and subprocess.run([str(unshare), "-rn", "true"], capture_output=True).returncode == 0


def test_the_notebook_makes_the_submission_offline(tmp_path: Path) -> None:
    # 1. A bundle in two datasets, and the competition, as Kaggle lays them out.
    run = make_run(tmp_path / "runs" / "tiny-run", model_type="adapter")
    python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
    flags = ["--dtype", "float32"]
    datasets = bundle([str(run)], str(tmp_path / "b"), pythons=[python_version], limit=100_000_000, flags=flags)
    assert [path.name for path in datasets] == ["tiny-run", "tiny-run-2"]
    inputs = tmp_path / "kaggle" / "input"
    for dataset in datasets:
        shutil.move(dataset, inputs / "datasets" / "someone" / dataset.name)
    battles = inputs / "competitions" / "llm-classification-finetuning" / "test.csv"
    battles.parent.mkdir(parents=True)
    with open(SAMPLE, encoding="utf-8", newline="") as source, open(battles, "w", encoding="utf-8", newline="") as out:
        rows = [row for row, _ in zip(csv.DictReader(source), range(12), strict=False)]
        writer = csv.DictWriter(out, ["id", "prompt", "response_a", "response_b"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    working = tmp_path / "kaggle" / "working"
    working.mkdir()
    shutil.copyfile(tmp_path / "b" / "notebook" / "submit.ipynb", working / "submit.ipynb")
    # The runs as they were, and all that was tracked in this repository, must not be needed.
    expected = tmp_path / "expected.csv"
    assert (
        predict.main(["--model", str(run), "--input", str(battles), "--output", str(expected), *flags, "--quiet"]) == 0
    )
    shutil.rmtree(tmp_path / "runs")

    # 2. Run by nbconvert in a fresh environment, cut off from the network.
    python = make_environment(tmp_path)
    bare = [str(python), "-c", "import torch, pandas, transformers"]
    assert b"No module named 'transformers'" in subprocess.run(bare, capture_output=True).stderr
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "submit.ipynb", "--output", "done"]
    command += ["--KernelManager.transport=ipc", "--ExecutePreprocessor.timeout=280"]
    done = subprocess.run(
        [*(["unshare", "-rn"] if can_unshare() else []), *command],
        cwd=working,
        env={**os.environ, "JUPYTER_PATH": str(tmp_path / "jupyter"), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stderr[-3000:]

    # 3. The same submission as anywhere else, and it is shown.
    def probabilities(file: Path) -> np.ndarray:
        with open(file, encoding="utf-8", newline="") as stream:
            found = list(csv.DictReader(stream))
        assert [row["id"] for row in found] == [row["id"] for row in rows]
        return np.array([[float(value) for name, value in row.items() if name != "id"] for row in found])

    np.testing.assert_allclose(probabilities(working / "submission.csv"), probabilities(expected), atol=1e-5)
    cells = nbformat.read(working / "done.ipynb", as_version=4).cells
    shown = "".join(str(output) for cell in cells for output in cell.get("outputs", []))
    assert "submission.csv: 12 rows, complete" in shown and "winner_tie" in shown


def test_files_go_where_there_is_room() -> None:
    parts = Parts(Path("b"), "name", 10)
    assert parts.names([6, 6, 4, 3]) == ["name", "name-2", "name", "name-2"]
    assert parts.names([10]) == ["name"]
    with pytest.raises(InputError, match="over the size limit"):
        parts.names([3, 11])


def test_every_wheel_is_named_with_its_hash(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# why\nSome-Thing==1.0  # this\nother==2\n")
    wheels = [tmp_path / name for name in ("some_thing-1.0-cp311-x.whl", "some_thing-1.0-cp312-x.whl")]
    for wheel in wheels:
        wheel.write_bytes(wheel.name.encode())
    with pytest.raises(InputError, match="no wheel was downloaded; found 'other==2'"):
        hashed_requirements(wheels, requirements)
    requirements.write_text("Some-Thing==1.0\n")
    text = hashed_requirements(wheels, requirements)
    assert text.startswith("Some-Thing==1.0") and all(f"--hash=sha256:{sha256(wheel)}" in text for wheel in wheels)


def test_kaggles_versions_are_the_projects() -> None:
    project = {plain(line.split("==")[0]): line.split("==")[1] for line in pinned(ROOT / "constraints.txt")}
    for line in pinned():
        name, version = line.split("==")
        assert project[plain(name)] == version, name


def test_the_bundle_lacks_nothing() -> None:
    """What its wheels need is among them, or comes with the image."""
    bundled = {plain(line.split("==")[0]) for line in pinned()}
    for name in bundled:
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert plain(needed.name) in bundled | image_packages(), f"{name} needs {line}"


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--output", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    (tmp_path / "blend.json").write_text("{}")
    assert main([str(tmp_path), "--output", str(tmp_path / "b")]) == 2
    assert "is a blend; name its runs" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main([str(make_run(tmp_path / "run")), "--output", str(tmp_path / "mine")]) == 2
    assert "is no bundle" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path / "run"), "--output", str(tmp_path / "b"), "--", "--no_such_flag"])
