"""OpenRLHF's remote reward model: `--remote_rm_url http://host:8000/get_reward` (newer versions: `--reward.remote_url`).

Its client sends the policy's texts: `query` is prompt and response with the policy's chat markup, `prompts` the prompt.

Source: `openrlhf/utils/agent.py`, `openrlhf/utils/remote_rm_utils.py` and `openrlhf/cli/serve_rm.py` of
https://github.com/OpenRLHF/OpenRLHF.
"""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from arena_data.reading.in_memory import Text
from reward_model.serve.limits import bad_request
from reward_model.serve.protocols.templated import messages_of, without_end
from reward_model.serve.protocols.texts import Strict, from_messages
from reward_model.serve.scoring import Scoring


class Queries(Strict):
    """Texts that end with a response; `prompts` says where it begins. `labels` are read by no reward model."""

    query: Annotated[list[str], Field(min_length=1)]
    prompts: list[str] | None = None
    labels: list[Any] | None = None


class Answer(Strict):
    """`rewards` train the policy; `scores` are the same, for the trainer's filter; nothing else is logged."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


def routes(scoring: Scoring) -> APIRouter:
    """`/get_reward`."""
    router = APIRouter(tags=["OpenRLHF"])

    @router.post("/get_reward")
    async def get_reward(request: Queries) -> Answer:
        """Rewards of the queries' responses."""
        nothing: list[str | None] = [None] * len(request.query)
        prompts = nothing if request.prompts is None else [*request.prompts]
        if len(prompts) != len(request.query):
            raise bad_request(f"{len(request.query)} queries and {len(prompts)} prompts; expected as many")
        pairs = [_pair(place, *pair) for place, pair in enumerate(zip(request.query, prompts, strict=True))]
        rewards = await scoring.rewards(pairs)
        return Answer(rewards=rewards, scores=rewards, extra_logs={})

    return router


def _pair(place: int, query: str, prompt: str | None) -> tuple[Text, Text]:
    """Prompt and response of a query. Raises: Refusal where it cannot be told which is which."""
    if prompt is not None and query.startswith(prompt):
        response = without_end(query[len(prompt) :])
        messages = messages_of(prompt) or [{"role": "user", "content": prompt}]
        return from_messages([*messages, {"role": "assistant", "content": response}])
    if whole := messages_of(query):
        return from_messages(whole)
    raise bad_request(f"query {place} (counted from 0) neither begins with its prompt nor has a known chat markup")
