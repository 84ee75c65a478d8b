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
from arena_data.file_io import write_json
from reward_model.calibration.blending import Blend
from reward_model.calibration.calibration import Calibration
from reward_model.cli import predict
from reward_model.cli.kaggle import main
from reward_model.publish import kaggle_bundle
from reward_model.publish.kaggle_bundle import Parts, bundle, dataset_name
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


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles without pip, which takes long; the notebook's test has the wheels."""
    monkeypatch.setattr(kaggle_bundle, "download", lambda folder, pythons: [])
    monkeypatch.setattr(kaggle_bundle, "hashed_requirements", lambda wheels: "")


@pytest.mark.usefixtures("no_wheels")
def test_a_blend_is_bundled_with_its_members_and_its_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, seed in (("one", 0), ("other", 1)):
        make_run(tmp_path / "runs" / place, model_type="adapter", seed=seed)
    blend = Blend(
        ("../runs/one", "../runs/other"), (0.75, 0.25), "logarithmic", Calibration("temperature", {"temperature": 3.0})
    )
    (tmp_path / "mix").mkdir()
    write_json(tmp_path / "mix" / "blend.json", blend.to_json())
    flags = ["--input", str(SAMPLE), "--quiet", "--dtype", "float32", "--device", "cpu"]
    expected, bundled = tmp_path / "expected.csv", tmp_path / "bundled.csv"
    assert predict.main(["--model", str(tmp_path / "mix"), *flags, "--output", str(expected)]) == 0
    [dataset] = bundle([str(tmp_path / "mix")], str(tmp_path / "b"), slug="arena-mix")
    manifest = json.loads((dataset / "bundle.json").read_text())
    assert sum(name.startswith("weights/") and name.endswith("model.safetensors") for name in manifest["files"]) == 2
    # The bundle elsewhere, and nothing that it was made from: as in a notebook, seen from the bundle.
    (tmp_path / "b").rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "runs")
    shutil.rmtree(tmp_path / "mix")
    monkeypatch.chdir(tmp_path / "elsewhere" / "arena-mix")
    models = [model["model"] for model in manifest["models"]]
    assert predict.main(["--model", *models, *flags, "--output", str(bundled)]) == 0
    assert bundled.read_text() == expected.read_text()


@pytest.mark.usefixtures("no_wheels")
def test_only_what_a_bundle_has_written_is_ever_removed(tmp_path: Path) -> None:
    run, output = str(make_run(tmp_path / "first-run")), tmp_path / "b"
    bundle([run], str(output))
    (output / "letters").mkdir()
    (output / "letters" / "thesis.txt").write_text("years of work")
    (output / "plan.txt").write_text("mine")
    bundle([str(make_run(tmp_path / "second-run"))], str(output))
    assert sorted(path.name for path in output.iterdir()) == ["letters", "notebook", "plan.txt", "second-run"]
    assert (output / "letters" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match=r"letters.*is in the way"):
        (output / "letters").rename(output / "letters-home")
        bundle([run], str(output), slug="letters-home")
    assert (output / "letters-home" / "thesis.txt").is_file() and (output / "second-run" / "bundle.json").is_file()
    # A folder that merely is called as one of ours marks nothing.
    (tmp_path / "mine" / "notebook").mkdir(parents=True)
    (tmp_path / "mine" / "photos").mkdir()
    with pytest.raises(InputError, match="is no bundle"):
        bundle([run], str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "photos").is_dir()


@pytest.mark.usefixtures("no_wheels")
def test_a_bundle_that_fails_leaves_the_old_one_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, output = str(make_run(tmp_path / "the-run")), tmp_path / "b"
    bundle([run], str(output))
    before = {path: path.stat().st_ino for path in output.rglob("*")}
    with monkeypatch.context() as patched:

        def full(source: Path, target: Path) -> None:
            raise OSError("No space left on device")

        patched.setattr(kaggle_bundle, "_place", full)
        with pytest.raises(OSError, match="No space left"):
            bundle([run], str(output))
    assert {path: path.stat().st_ino for path in output.rglob("*")} == before
    assert [path.name for path in bundle([run], str(output))] == ["the-run"]


@pytest.mark.usefixtures("no_wheels")
def test_kaggle_takes_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, name in (("x", "arena-x"), ("Größe_9B", "gr-e-9b"), ("r" * 80, "r" * 43)):
        assert dataset_name(None, str(tmp_path / folder)) == name
    run, output = str(make_run(tmp_path / "the-run")), str(tmp_path / "b")
    capsys.readouterr()
    for flags, message in (
        (["--name", "short"], "'short'; expected 6 to 50 lower-case letters"),
        (["--name", "n" * 51], "is no name for a Kaggle dataset"),
        (["--name", "Upper-Case"], "is no name for a Kaggle dataset"),
        (["--user", "some one"], "is no user name on Kaggle; found 'some one'"),
    ):
        assert main([run, "--output", output, *flags]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert main([run, "--output", output, "--user", "Some-One", "--name", "a-name"]) == 0
    metadata = json.loads((tmp_path / "b" / "notebook" / "kernel-metadata.json").read_text())
    assert metadata["machine_shape"] == "NvidiaTeslaT4" and metadata["id"] == "Some-One/a-name-submit"
    assert metadata["dataset_sources"] == ["Some-One/a-name"]
    assert json.loads((tmp_path / "b" / "a-name" / "bundle.json").read_text())["python"] == ["3.12", "3.13"]


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--output", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    blend = Blend(("probabilities.csv",), (1.0,), "linear", Calibration())
    write_json(tmp_path / "blend.json", blend.to_json())
    assert main([str(tmp_path), "--output", str(tmp_path / "b")]) == 2
    assert "has a member that cannot be bundled" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main([str(make_run(tmp_path / "run")), "--output", str(tmp_path / "mine")]) == 2
    assert "holds something else" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path / "run"), "--output", str(tmp_path / "b"), "--", "--no_such_flag"])
