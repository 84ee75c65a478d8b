"""Each package's README is its map: every folder and module has a row, and every row is there."""

import re
import tomllib

import pytest

from tests.helpers.prose import ROOT


def named(package: str) -> list[str]:
    """Folders (with a slash) and files in the first column of the map, in its order."""
    page = (ROOT / package / "README.md").read_text(encoding="utf-8")
    return [
        name for row in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    ]


@pytest.mark.parametrize("package", ["reward_model", "arena_data"])
def test_the_map_has_a_row_for_each_folder_and_module(package: str) -> None:
    folder = ROOT / package
    there = {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    there |= {path.name for path in folder.glob("*.py") if path.name != "__init__.py"}
    missing, gone = there - set(named(package)), {name for name in named(package) if not (folder / name).exists()}
    assert not missing and not gone, f"not on the map: {sorted(missing)}; on the map only: {sorted(gone)}"


def test_the_map_has_the_order_of_the_layers_that_lint_checks() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]  # the top of the house first
    height = {name.strip(): place for place, layer in enumerate(reversed(layers)) for name in layer.split("|")}
    heights = [height[f"reward_model.{name.removesuffix('/').removesuffix('.py')}"] for name in named("reward_model")]
    assert heights == sorted(heights)
