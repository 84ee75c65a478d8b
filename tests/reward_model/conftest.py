"""Battles of the sample, and run directories of several kinds."""

from pathlib import Path
from typing import Any

import pytest

from arena_data.loading import load_battles
from reward_model.calibration.calibration import Calibration
from tests.helpers.predictions import SAMPLE
from tests.helpers.run_directories import make_run

BATTLES = 24
CALIBRATION = Calibration("temperature", {"temperature": 1.7})
RUNS: dict[str, dict[str, Any]] = {
    "llama": {"calibration": CALIBRATION},
    "llama-adapter": {"model_type": "adapter", "tie_link": "rao_kupper", "seed": 1},
    "bert": {"kind": "bert", "seed": 2},
    "bert-joint": {"kind": "bert", "encoding": "joint", "max_length": 500, "seed": 3},
}


@pytest.fixture(scope="session")
def battles() -> Any:
    return load_battles(SAMPLE).select(range(BATTLES))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: make_run(folder / name, **settings) for name, settings in RUNS.items()}
