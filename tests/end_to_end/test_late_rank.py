"""Processes of a launcher: what all of them find is said once, and one that comes late leaves nothing behind."""

import os
from pathlib import Path

import pytest

from reward_model.cli import predict
from tests.helpers.commands import SAMPLE, flags
from tests.helpers.run_directories import make_run


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    return monkeypatch


def test_an_error_is_said_once(launched: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for rank in ("0", "1"):
        launched.setenv("RANK", rank)
        assert predict.main(flags(tmp_path / "none", SAMPLE, tmp_path / "s.csv")) == 2
        with pytest.raises(SystemExit) as ended:
            predict.main(["--modle", "run"])
        assert ended.value.code == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 2 and "none" in errors[0] and "--modle" in errors[1]


def test_a_process_that_starts_late_leaves_no_work_folder(launched: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", kind="bert")
    output = tmp_path / "submission.csv"
    output.write_text("id\n")  # as the first process has just written it
    launched.setenv("RANK", "1")
    before = sorted(os.listdir(tmp_path))
    assert predict.main(flags(run, SAMPLE, output)) == 0
    assert sorted(os.listdir(tmp_path)) == before and output.read_text() == "id\n"
