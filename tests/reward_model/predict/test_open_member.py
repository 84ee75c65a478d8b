"""What `--model` may name."""

from pathlib import Path

import pytest

from arena_data.errors import InputError
from reward_model.predict.member import MemberOptions
from reward_model.predict.open_member import open_member
from reward_model.run_directory.load_model import LoadOptions
from tests.helpers.predictions import predictor


def test_what_is_no_model_is_said_before_anything_is_loaded(tmp_path: Path, runs: dict[str, Path]) -> None:
    options = MemberOptions(LoadOptions())
    for path, match in ((tmp_path / "nothing", "no such run directory"), (tmp_path, "reward_config.json: missing")):
        with pytest.raises(InputError, match=match):
            open_member(str(path), options)
    with pytest.raises(ValueError, match="2 weights for 1 members"):
        predictor(runs["bert"], weights=[1.0, 2.0])
