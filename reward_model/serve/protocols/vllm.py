"""vLLM's `/classify` and `/pooling`, as a reward model of one label answers them; verl's reward loop calls the first.

`input` is a text with chat markup that ends with the response; `messages` is the conversation itself. `/classify` answers
the sigmoid of the reward unless `use_activation` (formerly `activation`) is false, `/pooling` the reward. Tokens are not
counted: `usage` is 0. What would change the scores and is not done here is refused as an unknown field.

Source: https://docs.vllm.ai/en/latest/models/pooling_models/classify/ and `vllm/entrypoints/pooling` of
https://github.com/vllm-project/vllm; verl's `RewardLoopWorker.compute_score_disrm`,
https://verl.readthedocs.io/en/latest/advance/reward_loop.html.
"""

import secrets
import time
from typing import Any, Literal

from fastapi import APIRouter
from scipy.special import expit

from arena_data.reading.in_memory import Text
from reward_model.serve.limits import bad_request
from reward_model.serve.protocols.templated import messages_of
from reward_model.serve.protocols.texts import Messages, Strict, from_messages
from reward_model.serve.scoring import Scoring


class PoolingRequest(Strict):
    """Texts with chat markup, or one conversation; `model`, `user`, `request_id` and special tokens change nothing."""

    input: str | list[str] | None = None
    messages: Messages | None = None
    use_activation: bool | None = None
    activation: bool | None = None
    model: str | None = None
    user: str | None = None
    request_id: str | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: Literal[False] = False
    encoding_format: Literal["float"] = "float"
    task: Literal["classify"] | None = None
    priority: Literal[0] = 0


def routes(scoring: Scoring) -> APIRouter:
    """`/classify` and `/pooling`."""
    router = APIRouter(tags=["vLLM"])

    async def scores(request: PoolingRequest, activated_unless_told: bool) -> list[float]:
        told = request.activation if request.use_activation is None else request.use_activation
        rewards = await scoring.rewards(_pairs(request))
        activated = activated_unless_told if told is None else told
        return [float(expit(reward)) for reward in rewards] if activated else rewards

    @router.post("/classify")
    async def classify(request: PoolingRequest) -> dict[str, Any]:
        """The only class's score of each text."""
        data = [
            {"index": place, "label": "LABEL_0", "probs": [score], "num_classes": 1}
            for place, score in enumerate(await scores(request, True))
        ]
        return _answer("classify", scoring.served.name, data)

    @router.post("/pooling")
    async def pooling(request: PoolingRequest) -> dict[str, Any]:
        """The reward of each text."""
        data = [
            {"index": place, "object": "pooling", "data": [score]}
            for place, score in enumerate(await scores(request, False))
        ]
        return _answer("pool", scoring.served.name, data)

    return router


def _pairs(request: PoolingRequest) -> list[tuple[Text, Text]]:
    if (request.input is None) == (request.messages is None):
        raise bad_request("expected either input or messages")
    if request.messages is not None:
        return [from_messages(request.messages)]
    texts = [request.input] if isinstance(request.input, str) else request.input or []
    pairs = []
    for place, text in enumerate(texts):
        if not (messages := messages_of(text)):
            raise bad_request(f"input {place} (counted from 0) has no known chat markup; send messages")
        pairs.append(from_messages(messages))
    return pairs


def _answer(kind: str, model: str, data: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"{kind}-{secrets.token_hex(16)}",
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": data,
        "usage": {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": None},
    }
