"""The package as pip installs it: what the wheel holds, and that it works in a folder without the repository."""

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import reward_model
from reward_model.errors import EXTRAS
from reward_model.publish.kaggle_bundle import CODE

ROOT = Path(__file__).parents[2]
DATA = (
    "arena_data/SAMPLE.md",
    "arena_data/py.typed",
    "arena_data/sample.csv",
    "arena_data/webpage/page.html.jinja",
    "reward_model/cli/console/commands.json",
    *(
        f"reward_model/pretrained/{judge}/{name}"
        for judge in ("minilm", "style")
        for name in ("README.md", "baseline.json", "calibration.json", "judge.json", "metrics.json", "state.json")
    ),
    "reward_model/pretrained/minilm/frozen.safetensors",
    "reward_model/pretrained/style/style.safetensors",
    "reward_model/publish/demo/page.css",
    "reward_model/publish/requirements-kaggle-baselines.txt",
    "reward_model/publish/requirements-kaggle.txt",
    "reward_model/publish/submit.ipynb",
    "reward_model/py.typed",
)


WITHOUT_EXTRAS = [
    *(f"reward_model.cli.{name}" for name in ("compare", "predict", "audit", "bench", "rank", "votes", "calibrate")),
    *("reward_model.api", "reward_model.predict.open_member", "reward_model.predict.text_scorer"),
    *("reward_model.predict.baseline_texts", "reward_model.predict.run_member", "arena_data.exploration.report"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as setuptools writes beside what it reads; without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in CODE:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(folder / "source")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [made] = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"arena_reward_model-{reward_model.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for name in CODE for path in (ROOT / name).rglob("*.py")}
    files = {name for name in names if ".dist-info/" not in name}
    assert files == modules | set(DATA)
    [licence] = [name for name in names if name.endswith("/licenses/LICENSE")]
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()
    assert wheel.stat().st_size < 1_000_000


def test_what_the_package_does_without_an_extra_imports_none() -> None:
    """As in an environment that has none: accelerate apart, which PEFT brings."""
    extras = sorted(set(EXTRAS) - {"accelerate", "rich"})
    code = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({extras}))
from reward_model.baselines.base import class_of
class_of("frozen"), class_of("style")
for name in {WITHOUT_EXTRAS}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_it_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    """The packages that it needs are seen by a .pth file; the repository is not."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    [packages] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    python = tmp_path / "venv" / "bin" / "python"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    install = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed", str(wheel)]
    run(str(python), *install)
    command = str(tmp_path / "venv" / "bin" / "arena-reward")
    assert run(command, "--version") == f"arena-reward {reward_model.__version__}\n"
    assert "--batch_tokens N" in run(command, "train", "--help")
    run(command, "explore", str(packages / "arena_data" / "sample.csv"), "--report", "eda.html")
    assert "</html>" in (tmp_path / "eda.html").read_text(encoding="utf-8")
    shown = run(command, "compare", "--prompt", "Why?", "--a", "Because.", "--b", "No idea, sorry.")
    assert "arena-style: " in shown and shown.count("%") == 3
    code = "from reward_model import RewardModel; import inspect; print(inspect.getfile(RewardModel))"
    assert run(str(python), "-c", code) == f"{packages / 'reward_model' / 'api.py'}\n"
    bundled = "from reward_model.publish.kaggle_bundle import _code; print([n for n in _code() if n[-3:] != '.py'])"
    pages = {f"code/{name}" for name in DATA if name.endswith((".json", ".jinja", ".safetensors"))}
    assert set(ast.literal_eval(run(str(python), "-c", bundled))) == {"code/LICENSE", *pages}
