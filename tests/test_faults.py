"""Each fault of docs/faults.md has tests, and each test that it names exists; and what the Makefile must do in its order."""

import ast
import re

import pytest

from tests.helpers.prose import ROOT

LINES = 26
ROWS = re.findall(r"^\| (\d+) \| (.*) \|$", (ROOT / "docs" / "faults.md").read_text(encoding="utf-8"), re.MULTILINE)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def recipe(target: str) -> str:
    matched = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert matched is not None
    return matched[1]


def test_every_line_has_a_row() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, LINES + 1))


@pytest.mark.parametrize(("number", "row"), ROWS, ids=[number for number, _ in ROWS])
def test_the_tests_that_a_row_names_exist(number: str, row: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
    assert named
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def test_make_demo_reads_its_battles_before_it_removes_a_run() -> None:
    steps = recipe("demo")
    assert steps.index("explore") < steps.index("rm -rf")
    assert '"$$DATA"' in steps and "$(DATA)" not in steps  # blanks in a name


def test_make_bench_names_the_model_that_it_measures() -> None:
    assert "benchmarks.speed.prediction --model" in recipe("bench")
