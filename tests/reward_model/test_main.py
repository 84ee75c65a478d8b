"""The one console command: what it says at once, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from reward_model import __version__
from reward_model.__main__ import main
from reward_model.cli.console.commands import COMMANDS

ROOT = Path(__file__).parents[2]
SLOW = {"torch", "transformers", "datasets", "numpy", "trl"}


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    program = ["-c", code] if code else ["-m", "reward_model"]
    return subprocess.run(
        [sys.executable, *program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    "given", [["--help"], ["--version"], ["train", "--help"], ["predict", "--help"], ["completion", "bash"]]
)
def test_help_opens_without_importing_anything_slow(given: list[str]) -> None:
    code = (
        "import sys; from reward_model.__main__ import main; status = main(sys.argv[1:]);"
        f"print(sorted({SLOW} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    done = run(*given, code=code)
    assert done.returncode == 0 and done.stdout
    assert done.stderr == "[]\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"arena-reward {__version__}\n"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert main([]) == 2
    assert capsys.readouterr().err == shown


def test_an_unknown_command_is_one_line_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predcit", "--model", "D"]) == 2
    assert (
        capsys.readouterr().err == "error: unknown command predcit (did you mean predict?); see arena-reward --help\n"
    )


def test_a_kind_of_baseline_brings_its_own_options_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["baseline", "--help"])
    assert "--patience" not in capsys.readouterr().out
    main(["baseline", "lightgbm", "--help"])
    shown = capsys.readouterr().out
    assert "--patience N" in shown and "--num_train_epochs" not in shown


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from reward_model.cli.console import completion

    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(completion, "main", interrupted)
    assert main(["completion", "bash"]) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize(
    ("module", "given", "line"),
    [
        ("trl", ["-m", "reward_model", "train", "--train_file", "x"], "training needs trl, which is not installed"),
        ("trl", ["train_reward.py", "--train_file", "x"], "training needs trl, which is not installed"),
        ("trl", ["-m", "reward_model", "plan"], "training needs trl, which is not installed"),
        ("gradio", ["-m", "reward_model", "demo", "D"], "the demo page needs gradio, which is not installed"),
        ("uvicorn", ["-m", "reward_model", "serve", "D"], "the server needs uvicorn, which is not installed"),
        ("sklearn", ["-m", "reward_model", "baseline", "lightgbm", "--train_file=x", "--output_dir=y"], "scikit-learn"),
        ("lightgbm", ["predict.py", "--model", "D", "--input", "arena_data/sample.csv", "--report", "r.html"], "lightgbm"),
    ],
)  # fmt: skip
def test_a_missing_extra_is_one_line(module: str, given: list[str], line: str, tmp_path: Path) -> None:
    """In a fresh Python that cannot import it; before any model is loaded or data is written."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{module!r}] = None\n")
    done = subprocess.run(
        [sys.executable, *given],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    [said] = [part for part in done.stderr.splitlines() if part.startswith("error: ")]
    assert line in said and 'pip install "arena-reward-model[' in said
    assert "Traceback" not in done.stderr


def test_the_api_names_the_extra_too() -> None:
    code = "import sys; sys.modules['trl'] = None; import reward_model.train.settings.config"
    done = run(code=code)
    assert done.stderr.splitlines()[-1].endswith(
        'training needs trl, which is not installed: pip install "arena-reward-model[train]"'
    )


def test_the_faces_are_lazy() -> None:
    code = (
        "import sys, arena_data, reward_model; assert not {'torch', 'datasets'} & set(sys.modules);"
        "from arena_data import load_battles; from reward_model import Probabilities, RewardModel;"
        "print(load_battles.__module__, RewardModel.__module__, Probabilities._fields)"
    )
    assert run(code=code).stdout == "arena_data.loading reward_model.api ('a', 'b', 'tie')\n"
    with pytest.raises(AttributeError, match="no attribute 'rewardmodel'"):
        __import__("reward_model").rewardmodel  # noqa: B018
