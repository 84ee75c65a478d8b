"""One file becomes two that share no prompt and read back to the same battles."""

from pathlib import Path

import pytest

from arena_data.__main__ import main
from arena_data.loading import load_battles

SAMPLE = Path(__file__).parents[3] / "arena_data" / "sample.csv"


def test_a_split_loses_nothing_and_shares_no_prompt(tmp_path: Path) -> None:
    assert main([str(SAMPLE), "--split", str(tmp_path / "made" / "here"), "--test_share", "0.25"]) == 0
    whole = {row.pop("id"): row for row in load_battles(str(SAMPLE))}
    parts = {name: load_battles(str(tmp_path / "made" / "here" / f"{name}.jsonl")) for name in ("train", "test")}
    assert len(parts["test"]) == pytest.approx(0.25 * len(whole), abs=8)
    assert not set(parts["train"]["group"]) & set(parts["test"]["group"])
    found = {row.pop("id"): row for part in parts.values() for row in part}
    for row in (*whole.values(), *found.values()):
        row.pop("oddities")  # of the file as it was; nulls and empty texts are named once
        row["response_a"], row["response_b"] = (
            [turn or "" for turn in row[side]] for side in ("response_a", "response_b")
        )
        row["prompt"] = [turn or "" for turn in row["prompt"]]
    assert found == whole


def test_unlabelled_battles_stay_unlabelled(tmp_path: Path) -> None:
    rows = "id,prompt,response_a,response_b\n" + "".join(f'{n},"[""p{n}""]","[""a""]","[""b""]"\n' for n in range(10))
    (tmp_path / "test.csv").write_text(rows)
    assert main([str(tmp_path / "test.csv"), "--split", str(tmp_path)]) == 0
    assert set(map(str, load_battles(str(tmp_path / "train.jsonl"))["verdict"])) == {"None"}


def test_bad_shares_and_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(SAMPLE), "--split", str(tmp_path), "--test_share", "1"])
    (tmp_path / "file").write_text("")
    assert main([str(SAMPLE), "--split", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
