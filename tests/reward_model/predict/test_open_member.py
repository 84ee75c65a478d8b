"""What `--model` may name."""

from pathlib import Path

import pytest

from arena_data.errors import InputError
from reward_model.cli import predict
from reward_model.predict.member import MemberOptions
from reward_model.predict.open_member import files_read, open_member
from reward_model.run_directory.load_model import LoadOptions
from tests.helpers.predictions import predictor


def test_what_is_no_model_is_said_before_anything_is_loaded(tmp_path: Path, runs: dict[str, Path]) -> None:
    options = MemberOptions(LoadOptions())
    for path, match in ((tmp_path / "nothing", "no such run directory"), (tmp_path, "reward_config.json: missing")):
        with pytest.raises(InputError, match=match):
            open_member(str(path), options)
    with pytest.raises(ValueError, match="2 weights for 1 members"):
        predictor(runs["bert"], weights=[1.0, 2.0])


def test_a_directory_that_is_no_model_is_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("walked"))
    assert files_read("/") == files_read(str(tmp_path)) == []
    output = tmp_path / "s.csv"
    assert predict.main(["--model", "/", "--input", "arena_data/sample.csv", "--output", str(output)]) == 2
    assert not output.exists()
