"""The reward functions of trainers against a server on a real socket, within this process."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from reward_model.serve.app import make_app
from reward_model.serve.client import AsyncRemoteReward, RemoteReward
from reward_model.serve.judge import ModelJudge
from reward_model.serve.verl_reward import compute_score
from reward_model.serve.workers import ThreadWorker

KEY = "correct-horse-battery"
PROMPTS = [[{"role": "user", "content": text}] for text in ("What is 2 + 2?", "Sing.", "Hi.")]
COMPLETIONS = [[{"role": "assistant", "content": text}] for text in ("4.", "La la.", "**Hello!**")]


@pytest.fixture(scope="module")
def url(judge: ModelJudge) -> Iterator[str]:
    app = make_app([ThreadWorker(judge)], key=KEY)
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def test_trls_reward_function_gives_the_runs_rewards(url: str, judge: ModelJudge) -> None:
    expected = judge.model.trl_reward(PROMPTS, COMPLETIONS)
    remote = RemoteReward(url, KEY, rows=2)  # three texts in two requests
    given: dict[str, Any] = {"completion_ids": [[1]] * 3, "trainer_state": object()}
    np.testing.assert_allclose(remote(prompts=PROMPTS, completions=COMPLETIONS, **given), expected, atol=1e-5)
    plain = RemoteReward(url, KEY)(prompts=["Sing."], completions=["La la."])
    np.testing.assert_allclose(plain, judge.model.trl_reward(["Sing."], ["La la."]), atol=1e-5)

    asynchronous = AsyncRemoteReward(url, KEY)
    assert inspect.iscoroutinefunction(asynchronous.__call__)  # what TRL's `is_async_callable` looks at

    async def both() -> list[list[float]]:
        return await asyncio.gather(*(asynchronous(prompts=PROMPTS, completions=COMPLETIONS) for _ in range(2)))

    for rewards in asyncio.run(both()):
        np.testing.assert_allclose(rewards, expected, atol=1e-5)


def test_verls_reward_function(url: str, judge: ModelJudge) -> None:
    [expected] = judge.model.trl_reward(PROMPTS[:1], COMPLETIONS[:1])
    for prompt in (PROMPTS[0], "What is 2 + 2?"):
        given = {"data_source": "x", "solution_str": "4.", "ground_truth": "4", "extra_info": {"question": prompt}}
        assert asyncio.run(compute_score(**given, url=url, key=KEY, reward_router_address=None)) == pytest.approx(
            expected, abs=1e-5
        )
    with pytest.raises(ValueError, match="extra_info has no prompt"):
        asyncio.run(compute_score("x", "4.", url=url))


def test_what_cannot_be_answered_is_said_in_one_line(url: str) -> None:
    with pytest.raises(RuntimeError, match=r"HTTP 401: the API key is missing or wrong"):
        RemoteReward(url, "wrong")(["a"], ["b"])
    with pytest.raises(RuntimeError, match=r"HTTP 422: 1 prompts and 2 responses"):
        RemoteReward(url, KEY)(["a"], ["b", "c"])
    with pytest.raises(RuntimeError, match="gave no rewards"):
        RemoteReward("http://127.0.0.1:9", attempts=1)(["a"], ["b"])
    with pytest.raises(ValueError, match="expected http://"):
        RemoteReward("127.0.0.1:8000")


def test_openrlhfs_transport(url: str, judge: ModelJudge) -> None:
    """aiohttp with the key in the URL, as `--remote_rm_url` may hold it: OpenRLHF sends no headers of its own."""
    import aiohttp

    async def ask() -> Any:
        timeout = aiohttp.ClientTimeout(total=60)
        address = url.replace("http://", f"http://any:{KEY}@") + "/get_reward"
        payload = {"query": ["Sing.La la."], "prompts": ["Sing."], "labels": [None]}
        async with aiohttp.ClientSession(timeout=timeout) as session, session.post(address, json=payload) as response:
            response.raise_for_status()
            return await response.json()

    expected = judge.model.reward(["Sing."], ["La la."])
    np.testing.assert_allclose(asyncio.run(ask())["rewards"], expected, atol=1e-5)


@pytest.mark.slow
def test_a_step_of_grpo_with_a_served_reward(url: str, judge: ModelJudge, tmp_path: Path) -> None:
    """Stock TRL with the synchronous and the async client beside the model itself: equal rewards, and the policy moves."""
    from tests.helpers.grpo import mean_rewards_of_a_step

    functions = [judge.model.trl_reward, RemoteReward(url, KEY), AsyncRemoteReward(url, KEY)]
    means = mean_rewards_of_a_step(functions, PROMPTS, tmp_path)
    assert len(means) == 3 and np.ptp(means) < 1e-4, means
