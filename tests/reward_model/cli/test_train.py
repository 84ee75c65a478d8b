"""What the training command does around a run."""

from pathlib import Path

import pytest

from reward_model.cli import train


@pytest.mark.parametrize("folds", [[], ["--folds", "3"]])
def test_a_push_keeps_no_other_process_waiting(
    folds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def push_run(directory: str, repository: str, **options: object) -> str:
        order.append(f"push {Path(directory).name} to {repository}")
        return "somewhere"

    monkeypatch.setattr(train, "train_run", lambda *arguments: order.append("train"))
    monkeypatch.setattr(train, "train_folds", lambda *arguments: order.append("train"))
    monkeypatch.setattr(train, "leave_together", lambda: order.append("leave"))
    monkeypatch.setattr(train, "push_run", push_run)
    flags = ["--output_dir", str(tmp_path / "run"), "--push_to_hub", "true", "--hub_model_id", "someone/run"]
    assert train.main([*flags, "--use_cpu", "true", *folds]) == 0
    assert order == ["train", "leave", "push run to someone/run"]
