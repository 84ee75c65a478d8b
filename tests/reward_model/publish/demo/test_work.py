"""A report that nobody waits for any more stops, and leaves no file."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from reward_model.api import RewardModel
from reward_model.publish.demo import work
from reward_model.publish.demo.file_report import report_of_file
from reward_model.publish.demo.work import while_waited_for
from tests.helpers.predictions import SAMPLE


def test_the_model_stops_when_the_visitor_leaves(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SECONDS_BETWEEN_SIGNS", 0.05)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = RewardModel.from_pretrained(runs["bert"], device="cpu", batch_tokens=256)
    upload = Path(shutil.copy(SAMPLE, tmp_path / "battles.csv"))
    passes: list[float] = []
    scorer: Any = model.run.member._loaded_scorer()
    scorer.loaded.model.register_forward_pre_hook(lambda *_: passes.append(time.monotonic()))
    before = len(passes)
    pages = while_waited_for(
        lambda check, folder: report_of_file(model.run.member, str(upload), check, folder), str(upload)
    )
    while len(passes) < before + 3:
        assert next(pages) is None
    pages.close()
    done = len(passes)
    time.sleep(0.3)
    assert len(passes) == done < 300  # the sample takes more
    assert list(tmp_path.iterdir()) == []


def test_the_page_lies_there_until_it_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    pages = [page.read_text() for page in while_waited_for(lambda *_: "<p>é", None) if page]
    assert pages == ["<p>é"] and list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError):
        list(while_waited_for(lambda *_: str(1 / 0), None))
    assert list(tmp_path.iterdir()) == []
