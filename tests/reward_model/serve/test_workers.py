"""A worker process that hangs, as a stuck driver would make it: the clients get an error, and another one takes over."""

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from reward_model.predict.member import MemberOptions
from reward_model.run_directory.load_model import LoadOptions
from reward_model.serve.batching import Batcher
from reward_model.serve.judge import Row
from reward_model.serve.limits import Limits, Refusal
from reward_model.serve.workers import ProcessWorker
from tests.helpers.run_directories import make_run


@pytest.mark.slow
def test_a_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    run = make_run(tmp_path / "tiny")
    worker = ProcessWorker(str(run), MemberOptions(LoadOptions(dtype="float32", device="cpu")))
    rows, deaths = [Row("Sing.", "La.", "La.")], list[str]()

    async def act() -> None:
        batcher = Batcher([worker], Limits(seconds=1), on_death=deaths.append)
        batcher.start()
        expected, stopped = await batcher.score("reward", rows), worker.pid
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(Refusal) as refusal:
            await batcher.score("reward", rows)
        assert refusal.value.status == 504
        async with asyncio.timeout(100):
            while worker.pid == stopped or not batcher.alive:
                await asyncio.sleep(0.05)
        assert not psutil.pid_exists(stopped) and deaths
        batcher.limits = Limits()
        np.testing.assert_allclose(await batcher.score("reward", rows), expected, atol=1e-5)
        await batcher.close()

    asyncio.run(act())
