"""The server's own protocol: rewards, one comparison, many battles, as `RewardModel` gives them."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter
from pydantic import Field

from arena_data.schema import LABELS
from reward_model.calibration.verdict_sets import verdict_sets
from reward_model.serve.judge import Row
from reward_model.serve.limits import bad_request
from reward_model.serve.protocols.texts import SentText, Strict, conversation
from reward_model.serve.scoring import Scoring


class RewardRequest(Strict):
    """As many responses as prompts."""

    prompts: Annotated[list[SentText], Field(min_length=1)]
    responses: Annotated[list[SentText], Field(min_length=1)]


class Rewards(Strict):
    """The reward of each response: higher is better, among responses to the same prompt."""

    model: str
    rewards: list[float]


class Battle(Strict):
    """Two responses to one prompt."""

    prompt: SentText
    response_a: SentText
    response_b: SentText


Coverage = Annotated[
    float | None, Field(description="also answer the smallest set that holds so large a share of verdicts")
]


class OneBattle(Battle):
    """A battle, and how often its verdict set shall hold the human verdict, such as 0.9."""

    coverage: Coverage = None


class NamedBattle(Battle):
    """A battle, and an id that is given back."""

    id: str | None = None


class Probabilities(Strict):
    """What people would say; calibrated, and the three sum to 1."""

    a: float
    b: float
    tie: float
    verdict_set: list[str] | None = None


class NamedProbabilities(Probabilities):
    """Probabilities of the battle with this id."""

    id: str | None


class BattlesRequest(Strict):
    """Battles to score."""

    battles: Annotated[list[NamedBattle], Field(min_length=1)]
    coverage: Coverage = None


class Battles(Strict):
    """In the order of the request."""

    model: str
    battles: list[NamedProbabilities]


def routes(scoring: Scoring) -> APIRouter:
    """`/v1/reward`, `/v1/compare`, `/v1/battles`."""
    router = APIRouter(prefix="/v1", tags=["Plain"])

    @router.post("/reward")
    async def reward(request: RewardRequest) -> Rewards:
        """Rewards of responses."""
        if len(request.prompts) != len(request.responses):
            raise bad_request(
                f"{len(request.prompts)} prompts and {len(request.responses)} responses; expected as many"
            )
        pairs = [conversation(*pair) for pair in zip(request.prompts, request.responses, strict=True)]
        return Rewards(model=scoring.served.name, rewards=await scoring.rewards(pairs))

    @router.post("/compare", response_model_exclude_unset=True)
    async def compare(request: OneBattle) -> Probabilities:
        """P(A), P(B), P(tie) of one battle."""
        return Probabilities(**(await answers([request], request.coverage))[0])

    @router.post("/battles", response_model_exclude_unset=True)
    async def battles(request: BattlesRequest) -> Battles:
        """P(A), P(B), P(tie) of each battle."""
        named = zip(request.battles, await answers(request.battles, request.coverage), strict=True)
        return Battles(
            model=scoring.served.name,
            battles=[NamedProbabilities(id=battle.id, **answer) for battle, answer in named],
        )

    async def answers(battles: Sequence[Battle], coverage: float | None) -> list[dict[str, Any]]:
        threshold = None if coverage is None else scoring.set_threshold(coverage)
        probabilities = await scoring.probabilities([_row(battle) for battle in battles])
        answered: list[dict[str, Any]] = [{"a": a, "b": b, "tie": tie} for a, b, tie in probabilities]
        if threshold is not None:
            with np.errstate(divide="ignore"):
                sets = verdict_sets(np.log(probabilities), threshold)
            for answer, inside in zip(answered, sets, strict=True):
                answer["verdict_set"] = [label for label, is_in in zip(LABELS, inside, strict=True) if is_in]
        return answered

    return router


def _row(battle: Battle) -> Row:
    prompt, a = conversation(battle.prompt, battle.response_a)
    same_prompt, b = conversation(battle.prompt, battle.response_b)
    if prompt != same_prompt:
        raise bad_request("the responses hold messages of users; expected those in the prompt")
    return Row(prompt, a, b)
