"""Any JSON value in any field of an artefact, through the commands themselves.

Property: status 0, 2 or 3; with 2 one line of error and no output, otherwise an output of every row; never an exception.
A few dozen values by default; `pytest -m fuzz --fuzz 1000 tests/hostile` tries all.
"""

import contextlib
import io
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reward_model.__main__ import main
from tests.helpers.commands import rows_of, write_csv
from tests.helpers.run_directories import make_run

ABSENT = object()
VALUES: list[Any] = [None, 10**400, -1, [], "x", float("nan"), {}, 1e308, True, [None], "../../x", 0, ABSENT]
FILES = {
    "run": ["adapter_config.json", "reward_config.json", "calibration.json", "metrics.json", "tokenizer_config.json"],
    "full": ["config.json"],
    "prior": ["baseline.json", "state.json", "calibration.json"],
    "length_buckets": ["baseline.json", "state.json"],
    "lightgbm": ["baseline.json", "state.json"],
    "blend": ["blend.json"],
}
QUICK = [("blend", "blend.json"), ("prior", "baseline.json"), ("prior", "state.json"), ("lightgbm", "state.json")]
VERDICTS = (["1", "0", "0"], ["0", "1", "0"], ["0", "0", "1"])
COLUMNS = ("id", "prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie")


def battles(file: Path, count: int) -> Path:
    def cell(text: str) -> str:
        return json.dumps([text])

    rows = [
        [str(n), cell(f"Say {n}"), cell("yes please " * (n % 5 + 1)), cell("no " * (n % 3 + 1)), *VERDICTS[n % 3]]
        for n in range(count)
    ]
    return write_csv(file, rows, COLUMNS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of each kind, and `few.csv`, which they predict."""
    pytest.importorskip("lightgbm")
    path = tmp_path_factory.mktemp("artefacts")
    training = battles(path / "training.csv", 60)
    battles(path / "few.csv", 3)
    make_run(path / "run", kind="bert", model_type="adapter")
    make_run(path / "full")
    for kind in ("prior", "length_buckets", "lightgbm"):
        assert main(["baseline", kind, "--train_file", str(training), "--output_dir", str(path / kind)]) == 0
    members = [str(path / "prior"), str(path / "length_buckets")]
    assert main(["blend", *members, "--input", str(training), "--output", str(path / "blend")]) == 0
    return path


def places(content: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field of a JSON document, the document itself first; of a list its first element."""
    yield before
    inner = list(content.items()) if isinstance(content, dict) else []
    if isinstance(content, list):
        inner = list(enumerate(content))[:1]
    for name, value in inner:
        yield from places(value, (*before, name))


def changed(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    holder = content
    for name in place[:-1]:
        holder = holder[name]
    if value is ABSENT:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return content


def check(folder: Path, kind: str, name: str, place: tuple[Any, ...], value: Any) -> int:
    copy, output = folder / "changed", folder / "submission.csv"
    shutil.rmtree(copy, ignore_errors=True)
    output.unlink(missing_ok=True)
    shutil.copytree(folder / kind, copy)
    content = changed(json.loads((copy / name).read_text()), place, value)
    (copy / name).write_text(json.dumps(content))
    errors = io.StringIO()
    flags = ["--model", str(copy), "--input", str(folder / "few.csv"), "--output", str(output), "--device", "cpu"]
    with contextlib.redirect_stderr(errors), warnings.catch_warnings():
        status = main(["predict", *flags, "--quiet"])
    said = [line for line in errors.getvalue().splitlines() if line.startswith("error")]
    assert status in (0, 2, 3) and "Traceback" not in errors.getvalue()
    if status == 2:
        assert len(said) == 1 and len(said[0]) < 1500, said
        assert "changed" in said[0] or "scores are not finite" in said[0], said
        assert not output.exists()
    else:
        assert not said
        for row in rows_of(output):
            shares = [float(share) for column, share in row.items() if column != "id"]
            assert len(shares) == 3 and abs(sum(shares) - 1) < 1e-6 and min(shares) >= 0
        assert [row["id"] for row in rows_of(output)] == ["0", "1", "2"]
    return status


@pytest.mark.parametrize("kind, name", QUICK, ids=lambda part: str(part))
def test_any_value_in_any_field(folder: Path, kind: str, name: str) -> None:
    content = json.loads((folder / kind / name).read_text())
    for number, place in enumerate(list(places(content))[1:]):
        # Neighbours in the file get different values, and each place two.
        for value in (VALUES[number % len(VALUES)], VALUES[(number + 6) % len(VALUES)]):
            check(folder, kind, name, place, value)


@pytest.mark.parametrize("value", [None, -1, "x", {"a": 1}])
@pytest.mark.parametrize("field", ["r", "target_modules", "alpha_pattern", "bias", "peft_type"])
def test_the_settings_of_an_adapter(folder: Path, field: str, value: Any) -> None:
    check(folder, "run", "adapter_config.json", (field,), value)


@pytest.mark.fuzz
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind, name", [(kind, name) for kind, names in FILES.items() for name in names])
def test_all_values_in_all_fields(folder: Path, kind: str, name: str, pytestconfig: pytest.Config) -> None:
    content = json.loads((folder / kind / name).read_text())
    cases = [(place, value) for place in list(places(content))[1:] for value in VALUES]
    most = int(pytestconfig.getoption("--fuzz", default=0) or 100)
    statuses = [check(folder, kind, name, *case) for case in cases[:: max(1, len(cases) // most)]]
    print(f"{kind}/{name}", {status: statuses.count(status) for status in sorted(set(statuses))})
