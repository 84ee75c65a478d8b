"""From which checkpoint a run goes on, and when it refuses to."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from arena_data.errors import InputError
from reward_model.train.checkpoints.manifest import write_manifest
from reward_model.train.checkpoints.resuming import SETTINGS, checkpoint_to_resume, write_settings

OURS: dict[str, Any] = {"trainer": {"seed": 1, "load_best_model_at_end": True}, "battles": "abc"}
OTHER: dict[str, Any] = {"trainer": {"seed": 2, "load_best_model_at_end": True}, "battles": "abc"}


def checkpoint(folder: Path, step: int, *, best: int | None = None, settings: dict[str, Any] | None = OURS) -> Path:
    """A whole checkpoint; the path of the best one is of where the run was trained."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "optimizer.pt").write_text(f"optimizer {step}")
    noted = None if best is None else f"somewhere/else/checkpoint-{best}"
    (path / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": noted}))
    write_manifest(path, settings)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three checkpoints; the second is the best."""
    for step in (2, 4, 10):
        checkpoint(tmp_path, step, best=min(step, 4))
    write_settings(str(tmp_path), OURS)
    return tmp_path


@pytest.mark.parametrize("wanted", [None, "true", "True"])
def test_the_newest_by_number(run: Path, wanted: str | None) -> None:
    assert checkpoint_to_resume(str(run), OURS, wanted) == (str(run / "checkpoint-10"), [])


def test_a_damaged_one_is_passed_over_with_a_line_for_the_one_before(run: Path) -> None:
    (run / "checkpoint-10" / "optimizer.pt").unlink()
    path, lines = checkpoint_to_resume(str(run), OURS)
    assert path == str(run / "checkpoint-4")
    assert len(lines) == 1 and lines[0].startswith("checkpoint-10 is passed over: ") and "optimizer.pt" in lines[0]


def test_where_the_best_one_is_damaged_there_is_no_going_on_behind_it(run: Path) -> None:
    (run / "checkpoint-4" / "optimizer.pt").write_text("")
    path, lines = checkpoint_to_resume(str(run), OURS)
    assert path == str(run / "checkpoint-2") and len(lines) == 2
    shutil.rmtree(run / "checkpoint-2")
    path, lines = checkpoint_to_resume(str(run), OURS)
    assert path is None and len(lines) == 2


def test_without_the_best_at_the_end_a_damaged_best_one_does_not_matter(tmp_path: Path) -> None:
    last = {"trainer": {"load_best_model_at_end": False}}
    checkpoint(tmp_path, 2, settings=last)
    newest = checkpoint(tmp_path, 4, best=2, settings=last)
    shutil.rmtree(tmp_path / "checkpoint-2")
    assert checkpoint_to_resume(str(tmp_path), last) == (str(newest), [])


def test_checkpoints_of_a_version_without_manifests_are_refused_by_their_settings(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / SETTINGS).write_text('{"trainer": {"seed": 1}}')
    with pytest.raises(InputError, match="holds another run"):
        checkpoint_to_resume(str(tmp_path), OURS)


def test_killed_in_its_first_checkpoint_a_run_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    write_settings(str(tmp_path), OURS)
    path, [line] = checkpoint_to_resume(str(tmp_path), OURS)
    assert path is None and "no manifest.json" in line


def test_a_checkpoint_of_another_run_is_refused_even_beside_our_settings(run: Path) -> None:
    shutil.rmtree(run / "checkpoint-10")
    checkpoint(run, 10, settings=OTHER)
    with pytest.raises(InputError, match="differs in seed; remove it"):
        checkpoint_to_resume(str(run), OURS)


def test_the_settings_file_may_be_lost(run: Path) -> None:
    (run / SETTINGS).unlink()
    assert checkpoint_to_resume(str(run), OURS)[0] == str(run / "checkpoint-10")


def test_a_checkpoint_that_is_asked_for_is_taken_or_refused(run: Path, tmp_path: Path) -> None:
    wanted = str(run / "checkpoint-4")
    assert checkpoint_to_resume(str(tmp_path / "new"), OURS, wanted) == (wanted, [])
    with pytest.raises(InputError, match="differs in seed"):
        checkpoint_to_resume(str(tmp_path / "new"), OTHER, wanted)
    (run / "checkpoint-4" / "optimizer.pt").unlink()
    with pytest.raises(InputError, match=r"optimizer\.pt: is missing"):
        checkpoint_to_resume(str(tmp_path / "new"), OURS, wanted)
    with pytest.raises(InputError, match="names no checkpoint"):
        checkpoint_to_resume(str(run), OURS, str(run / "checkpoint-5"))


def test_false_starts_anew_and_overwrites_nothing(run: Path, tmp_path: Path) -> None:
    assert checkpoint_to_resume(str(tmp_path / "new"), OURS, "false") == (None, [])
    with pytest.raises(InputError, match="starts anew; remove it"):
        checkpoint_to_resume(str(run), OURS, "false")
