"""Where folds may be trained."""

from pathlib import Path

import pytest

from arena_data.errors import InputError
from reward_model.train.folds import check_folds_root
from tests.helpers.run_directories import make_run


def test_the_mean_of_folds_takes_the_place_of_no_other_run(tmp_path: Path) -> None:
    check_folds_root(tmp_path / "new")
    run = make_run(tmp_path / "run", kind="bert")
    with pytest.raises(InputError, match="trained without --folds"):
        check_folds_root(run)
    (tmp_path / "begun" / "checkpoint-3").mkdir(parents=True)
    with pytest.raises(InputError, match="trained without --folds"):
        check_folds_root(tmp_path / "begun")
    metrics = run / "metrics.json"
    metrics.write_text(metrics.read_text().replace("{", '{"folds": 2, ', 1))
    check_folds_root(run)
