"""A bundle's notebook as Kaggle runs it: inputs laid out as there, a Python that has the image's packages, no network."""

import csv
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement

from tests.helpers.commands import SAMPLE, rows_of

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
    needed: set[str] = set()
    waiting = list(IMAGE)
    while waiting:
        name = plain(waiting.pop())
        if name in needed:
            continue
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # what torch needs for a GPU
        needed.add(name)
        requirements = [Requirement(line) for line in lines]
        waiting += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return needed


def image_like_this(folder: Path) -> Path:
    """The Python of a fresh virtual environment that sees the image's packages, those of this environment, and no others."""
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
    return _cut_off(folder / "venv")


def image_from(python: Path, folder: Path) -> Path:
    """The Python of a copy of that virtual environment, made of hard links: the notebook may replace packages in it."""
    shutil.copytree(python.absolute().parents[1], folder / "venv", symlinks=True, copy_function=os.link)
    return _cut_off(folder / "venv")


def _cut_off(environment: Path) -> Path:
    if not can_unshare():
        [packages] = (environment / "lib").glob("python*/site-packages")
        (packages / "sitecustomize.py").write_text(BLOCKED)
    return environment / "bin" / "python"


def can_unshare() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and subprocess.run([str(unshare), "-rn", "true"], capture_output=True).returncode == 0


def lay_out(datasets: Iterable[Path], notebook: Path, folder: Path) -> tuple[Path, Path]:
    """Moves datasets to where Kaggle mounts them, beside 12 battles; returns the battles' file and the working folder."""
    inputs, working = folder / "kaggle" / "input", folder / "kaggle" / "working"
    (inputs / "datasets" / "someone").mkdir(parents=True)
    for dataset in datasets:
        shutil.move(dataset, inputs / "datasets" / "someone" / dataset.name)
    battles = inputs / "competitions" / "llm-classification-finetuning" / "test.csv"
    battles.parent.mkdir(parents=True)
    with open(battles, "w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, ["id", "prompt", "response_a", "response_b"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows_of(SAMPLE)[:12])
    working.mkdir()
    shutil.copyfile(notebook, working / "submit.ipynb")
    return battles, working


def execute(python: Path, working: Path) -> None:
    """Runs the notebook by nbconvert with that Python as its kernel, cut off from the network, to `done.ipynb`."""
    folder = working.parent
    kernel = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "submit.ipynb", "--output", "done"]
    command += ["--KernelManager.transport=ipc", "--ExecutePreprocessor.timeout=900"]
    done = subprocess.run(
        [*(["unshare", "-rn"] if can_unshare() else []), *command],
        cwd=working,
        env={**os.environ, "JUPYTER_PATH": str(folder / "jupyter"), "HOME": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def probabilities(file: Path, battles: Path) -> np.ndarray:
    """float64 [battles, 3] of a submission, which must have the battles' ids in their order."""
    rows = rows_of(file)
    assert [row["id"] for row in rows] == [row["id"] for row in rows_of(battles)]
    return np.array([[float(value) for name, value in row.items() if name != "id"] for row in rows])
