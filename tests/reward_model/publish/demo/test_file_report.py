"""A file of battles comes to what `arena-reward predict --report` says of it, to the word."""

import json
from pathlib import Path

import pytest

from reward_model.api import RewardModel
from reward_model.cli.predict import main as predict
from reward_model.publish.demo import file_report
from reward_model.publish.demo.file_report import report_of_file
from reward_model.publish.demo.opening import member_of
from tests.helpers.predictions import SAMPLE


def test_the_sentence_is_that_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_report, "AUDITED_BATTLES", 4)
    battles = tmp_path / "battles.csv"
    battles.write_bytes(b"\n".join(SAMPLE.read_bytes().split(b"\n")[:13]) + b"\n")
    output, report = tmp_path / "out.csv", tmp_path / "report.html"
    flags = ["--model", "arena-style", "--input", str(battles), "--output", str(output), "--report", str(report)]
    assert predict([*flags, "--json", "--quiet", "--audit_battles", "4"]) == 0
    figures = json.loads(capsys.readouterr().out)
    member = member_of(RewardModel.from_pretrained("arena-style"))
    shown = report_of_file(member, str(battles), lambda: None, tmp_path)
    sentence = f'<p class="lead">{figures["verdict"]["sentence"]}</p>'
    assert sentence in shown and sentence in report.read_text()
