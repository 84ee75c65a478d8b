"""The notebooks of the docs run from start to end, and show what they say they do."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers.prose import ROOT

# Lines of code, imports apart. The first one's text promises ten.
MOST_LINES = {"evaluate_two_models": 10, "kaggle_weekend": 55, "rlhf_reward": 65}
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_its_stored_outputs_show(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    stored = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    NotebookClient(
        run, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    for before, after in zip(stored.cells, run.cells, strict=True):
        if before.cell_type == "code":
            assert _tables(after) == _tables(before), after.source


def test_notebooks_hold_no_path_of_a_machine_and_few_lines() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        assert not any(output.output_type == "stream" for cell in cells for output in cell.get("outputs", []))
        lines = [line for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()]
        assert (
            len([line for line in lines if line and not line.startswith(("import", "from"))]) <= MOST_LINES[path.stem]
        )


def _tables(cell: nbformat.NotebookNode) -> list[str]:
    """Which kinds of results a cell shows, and the tables' first names: figures may differ in the last digit."""
    shown = [output.data for output in cell.outputs if "data" in output]
    return [line.split("  ")[0] for data in shown for line in data["text/plain"].splitlines()]
