"""What a run's scores depend on is known by content; a backbone on the Hub by its commit."""

import json
from pathlib import Path

import pytest

from reward_model.errors import ModelError
from reward_model.run_directory.identity import run_identity
from reward_model.run_directory.reading import read_run
from tests.helpers.run_directories import make_run

FIRST, SECOND = "1" * 40, "2" * 40


def cached(cache: Path, commit: str) -> None:
    """The Hub's cache as a download of `someone/backbone` leaves it, with `main` at that commit."""
    snapshot = cache / "models--someone--backbone" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir(exist_ok=True)
    (snapshot.parents[1] / "refs" / "main").write_text(commit)


def test_a_backbone_on_the_hub_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run", model_type="adapter")
    settings = json.loads((run / "reward_config.json").read_text()) | {"base_model": "someone/backbone"}
    (run / "reward_config.json").write_text(json.dumps(settings))
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="someone/backbone"):
        run_identity(read_run(run), None)
    for commit in (FIRST, SECOND):
        cached(cache, commit)
        assert run_identity(read_run(run), None)["backbone"] == commit
    (run / "reward_config.json").write_text(json.dumps(settings | {"base_model_revision": FIRST}))
    assert run_identity(read_run(run), None)["backbone"] == FIRST


def test_what_is_applied_after_the_scores_is_no_part_of_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = run_identity(read_run(run), None)
    (run / "README.md").write_text("Another card.")
    (run / "metrics.json").write_text("{}")
    (run / "submission.csv").write_text("id\n")
    assert run_identity(read_run(run), None) == before
    assert {"run/model.safetensors", "run/config.json", "run/tokenizer.json"} <= set(before)
