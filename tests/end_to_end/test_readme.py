"""The README's commands, as a person gives them: from top to bottom, in an environment that holds nothing."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from tests.helpers.markdown_commands import Step, steps
from tests.helpers.prose import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
# What cannot be given as it stands, why, and what is given in its place. All else runs unchanged.
REPLACED = {
    # No release lies on the index that a test reaches. The line's comment names the other way.
    r"pip install arena-reward-model\b.*": "pip install .",
    # Two GPUs, and weights that their owner gives to whom it knows. The demo's run takes the place of its run.
    r"accelerate launch .*--output_dir runs/gemma2": "cp -r runs/demo runs/gemma2",
}
# What the commands name and the reader brings, as rows of the sample: (first, how many, whether people's votes are there).
BROUGHT = {
    "path/to/train.csv": (0, 120, True),
    "test.csv": (120, 30, False),
    "labelled.csv": (150, 60, True),
    "battles.csv": (0, 300, True),
}
VOTES = ("winner_model_a", "winner_model_b", "winner_tie")


def test_commands_are_read_from_a_page() -> None:
    page = """Text.

    one --flag \\
        --other    # a remark
    two

    $ three "a b"
      said

Text, and

```python
four()
```
- item
      going on, which is no block
"""
    assert steps(page) == [
        Step("bash", "one --flag      --other    # a remark"),
        Step("bash", "two"),
        Step("bash", 'three "a b"', ("  said",)),
        Step("python", "four()"),
    ]


def test_each_replacement_is_of_one_command() -> None:
    for pattern in REPLACED:
        assert sum(bool(re.fullmatch(pattern, step.text)) for step in steps(README)) == 1, pattern


@pytest.mark.scale
@pytest.mark.timeout(7200)
def test_the_commands_run_from_top_to_bottom_in_an_empty_environment(tmp_path: Path) -> None:
    checkout = copied_checkout(tmp_path / "checkout")
    bring(checkout)
    venv.create(tmp_path / "environment", with_pip=True, symlinks=True)
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    binaries = tmp_path / "environment" / "bin"
    environment = {**kept, "PATH": f"{binaries}:{os.environ['PATH']}", "HF_HOME": str(tmp_path / "hub")}
    listed = steps(README)
    # One shell for all: an environment that is activated stays so.
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script(listed, tmp_path)],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    for place, step in enumerate(listed):
        if step.output:
            assert_same_output((tmp_path / f"{place}.out").read_text("utf-8").splitlines(), list(step.output))


def script(listed: list[Step], folder: Path) -> str:
    """A script of all steps; the output of each that the page shows goes to a file of its number."""
    lines = []
    for place, step in enumerate(listed):
        command = next((new for old, new in REPLACED.items() if re.fullmatch(old, step.text)), step.text)
        if step.language == "python":
            (folder / f"{place}.py").write_text(step.text, encoding="utf-8")
            command = f"PYTHONPATH=. python {folder / f'{place}.py'}"
        lines.append(f"echo + {shlex.quote(command)}")
        lines.append(f"{{ {command}\n}} > {folder / f'{place}.out'}" if step.output else command)
        if step.text.partition("#")[0].strip() == "make demo":
            lines.append("ln -s runs/demo D")  # "D" is a run that the reader has
    return "\n".join(lines)


def copied_checkout(folder: Path) -> Path:
    """The files of the repository as they are now, and nothing that lies beside them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def bring(folder: Path) -> None:
    with open(ROOT / "arena_data" / "sample.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for name, (first, count, labelled) in BROUGHT.items():
        columns = [column for column in rows[0] if labelled or column not in VOTES]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with open(folder / name, "w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows[first : first + count])
    item = {"id": 1, "domain": "chat", "prompt": "Q", "chosen": ["c", "cc", "*c*"], "rejected": ["r", "rr", "*r*"]}
    (folder / "rm_bench_chat.json").write_text(json.dumps([item, item | {"id": 2, "prompt": "Another"}]))


def assert_same_output(printed: list[str], shown: list[str]) -> None:
    """Line by line, but for the last digit of a number and the length of a bar."""
    assert len(printed) == len(shown), printed
    for line, expected in zip(printed, shown, strict=True):
        assert _without_numbers(line) == _without_numbers(expected)
        assert _numbers(line) == pytest.approx(_numbers(expected), abs=0.2)


def _numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"[+-]?\d+(?:\.\d+)?", line)]


def _without_numbers(line: str) -> list[str]:
    return re.sub(r"[+-]?\d+(?:\.\d+)?|█", "", line).split()
