"""What of a run is published beside the model: the audit's card, as long as it is of these files."""

import json
from pathlib import Path

from reward_model.audit.card import check_sway, model_fingerprint
from reward_model.publish.staging import stage
from reward_model.run_directory.model_card import CardDetails
from reward_model.run_directory.reading import read_run
from tests.helpers.run_directories import make_run


def test_an_audit_of_these_files_is_published_and_holds_for_the_copy(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    card = {"model": "run", "files": model_fingerprint(run), "sway": {"value": 0.01, "name": "length"}}
    (run / "audit.json").write_text(json.dumps(card | {"sway_style_off": None}))
    (run / "audit.html").write_text("<html></html>")
    (tmp_path / "staged").mkdir()
    assert not [line for line in stage_into(run, tmp_path / "staged") if "audit" in line]
    assert (tmp_path / "staged" / "audit.html").is_file()
    check_sway(tmp_path / "staged", 0.02, style=True)

    (run / "tokenizer_config.json").write_text((run / "tokenizer_config.json").read_text() + "\n")
    (tmp_path / "changed").mkdir()
    [line] = [line for line in stage_into(run, tmp_path / "changed") if "audit" in line]
    assert "is of other files than these and is left out" in line
    assert not (tmp_path / "changed" / "audit.json").exists() and not (tmp_path / "changed" / "audit.html").exists()


def stage_into(run: Path, folder: Path) -> list[str]:
    return stage(read_run(run), folder, base_model="someone/backbone", details=CardDetails())
