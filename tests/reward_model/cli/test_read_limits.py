"""Every command that reads battles keeps the bounds of `--read_limits`."""

from pathlib import Path

import pytest

from reward_model.__main__ import main
from tests.helpers.commands import SAMPLE, write_csv
from tests.helpers.tiny_models import write_backbone

P, F = "PREDICTIONS", str(SAMPLE)
READERS = {
    "explore": [F, "--json"],
    "predict": ["--model", "arena-style", "--input", F, "--output", "OUT.csv", "--quiet"],
    "baseline": ["prior", "--train_file", F, "--output_dir", "OUT"],
    "calibrate": ["--predictions", P, "--input", F, "--output", "OUT.json"],
    "blend": [P, P, "--input", F, "--output", "OUT"],
    "audit": ["arena-style", "--input", F, "--output_dir", "OUT"],
    "bench": [P, "--file", F],
    "rank": [F],
    "votes": ["--predictions", P, "--labels", F],
    "export": ["OUT", "--battles", F],
    "train": ["--model_name_or_path", "BACKBONE", "--train_file", F, "--output_dir", "OUT", "--max_length", "128"],
}


@pytest.mark.parametrize("command", READERS)
def test_a_bound_is_kept(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / P, [["1", "0.4", "0.4", "0.2"]], ("id", "winner_model_a", "winner_model_b", "winner_tie"))
    if command == "train":
        write_backbone(tmp_path / "BACKBONE")
    assert main([command, *READERS[command], "--read_limits", "cell=50"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "50 bytes" in said and "sample.csv" in said
    assert main([command, *READERS[command], "--read_limits", "cel=50"]) == 2
    assert "did you mean cell?" in capsys.readouterr().err
