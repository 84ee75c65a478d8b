"""One tiny run, opened once, as a judge."""

import pytest

from reward_model.api import RewardModel
from reward_model.calibration.calibration import Calibration
from reward_model.serve.judge import ModelJudge
from tests.helpers.run_directories import make_run


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> ModelJudge:
    run = make_run(
        tmp_path_factory.mktemp("served") / "tiny", calibration=Calibration("temperature", {"temperature": 1.7})
    )
    return ModelJudge(RewardModel.from_pretrained(run, dtype="float32", device="cpu"), "tiny")
