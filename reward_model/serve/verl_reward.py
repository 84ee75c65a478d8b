"""A reward function for verl that asks a server.

    custom_reward_function.path=.../reward_model/serve/verl_reward.py
    custom_reward_function.name=compute_score
    +custom_reward_function.reward_kwargs.url=http://127.0.0.1:8000

The data's `extra_info` must hold the prompt, as `prompt`, `raw_prompt` or `question`: a text, or messages.

Source: https://verl.readthedocs.io/en/latest/preparation/reward_function.html.
"""

from typing import Any

from reward_model.serve.client import AsyncRemoteReward

PROMPTS = ("prompt", "raw_prompt", "question")


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any = None,
    extra_info: dict[str, Any] | None = None,
    url: str = "http://127.0.0.1:8000",
    key: str | None = None,
    **_: Any,
) -> float:
    """The reward of a response.

    Args:
        data_source, ground_truth: verl passes them; no reward model reads them.
        solution_str: the response.
        extra_info: holds the prompt.
        url, key: of the server.

    Raises: ValueError where there is no prompt; RuntimeError where the server gives no reward.
    """
    prompt = next((value for name in PROMPTS if (value := (extra_info or {}).get(name)) is not None), None)
    if prompt is None:
        raise ValueError(f"extra_info has no prompt; expected one of {', '.join(PROMPTS)}")
    prompt = prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
    [reward] = await AsyncRemoteReward(url, key)([prompt], [solution_str])
    return reward
