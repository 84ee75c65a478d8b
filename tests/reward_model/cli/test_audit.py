"""`audit` on a run and on a wrapped stock model, and `export --max_sway` that reads its card."""

import json
import shutil
from pathlib import Path

import pytest

from reward_model.__main__ import main
from reward_model.audit.card import model_fingerprint
from reward_model.pretrained.judges import shipped_folder
from tests.helpers.made_battles import write_sample
from tests.reward_model.predict.test_stock_member import stock_llama


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_sample(tmp_path_factory.mktemp("battles") / "labelled.csv", 30)


def test_a_run_is_audited_open_and_closed_and_its_export_is_held_to_the_card(
    runs: dict[str, Path], labelled: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(runs["llama"], tmp_path / "run"))
    flags = ["--input", labelled, "--max_battles", "3", "--device", "cpu", "--dtype", "float32"]
    assert main(["export", str(run), "--max_sway", "0.1"]) == 2
    assert f"arena-reward audit {run}" in capsys.readouterr().err
    assert main(["audit", str(run), *flags]) == 0
    card = json.loads((run / "audit.json").read_text())
    assert card["audit_style_off"]["battles"] == 30 and card["sway"] != card["sway_style_off"]
    # The card is no part of what it is about.
    assert main(["audit", str(run), *flags, "--output_dir", str(tmp_path / "again")]) == 0
    assert json.loads((tmp_path / "again" / "audit.json").read_text())["files"] == card["files"]
    assert main(["push", str(run), "--repo", "user/name", "--max_sway", "0"]) == 2
    assert "is swayed by" in capsys.readouterr().err
    assert main(["export", str(run), "--max_sway", "0", "--device", "cpu"]) == 2
    assert not (tmp_path / "run-export").exists()


def test_a_wrapped_stock_model_is_audited(labelled: str, tmp_path: Path) -> None:
    model, wrapped = stock_llama(tmp_path / "rm"), tmp_path / "wrapped"
    assert main(["calibrate", str(model), "--input", labelled, "--output", str(wrapped), "--device", "cpu"]) == 0
    assert main(["audit", str(wrapped), "--input", labelled, "--max_battles", "3", "--device", "cpu"]) == 0
    card = json.loads((wrapped / "audit.json").read_text())
    assert card["sway"]["value"] is not None and card["audit"]["position"]["swapped"]["swap_distance"]["value"] < 1e-6


def test_a_judge_that_ships_is_audited_by_its_name(labelled: str, tmp_path: Path) -> None:
    flags = ["--input", labelled, "--max_battles", "3", "--output_dir", str(tmp_path)]
    assert main(["audit", "arena-style", *flags]) == 0
    assert json.loads((tmp_path / "audit.json").read_text())["files"] == model_fingerprint(
        shipped_folder("arena-style")
    )
