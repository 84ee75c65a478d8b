"""The server's own protocol: rewards, one comparison, many battles, as `RewardModel` gives them."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

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


class NamedBattle(Battle):
    """A battle, and an id that is given back."""

    id: str | None = None


class Probabilities(Strict):
    """What people would say; calibrated, and the three sum to 1."""

    a: float
    b: float
    tie: float


class NamedProbabilities(Probabilities):
    """Probabilities of the battle with this id."""

    id: str | None


class BattlesRequest(Strict):
    """Battles to score."""

    battles: Annotated[list[NamedBattle], Field(min_length=1)]


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

    @router.post("/compare")
    async def compare(request: Battle) -> Probabilities:
        """P(A), P(B), P(tie) of one battle."""
        [(a, b, tie)] = await scoring.probabilities([_row(request)])
        return Probabilities(a=a, b=b, tie=tie)

    @router.post("/battles")
    async def battles(request: BattlesRequest) -> Battles:
        """P(A), P(B), P(tie) of each battle."""
        probabilities = await scoring.probabilities([_row(battle) for battle in request.battles])
        answers = [
            NamedProbabilities(id=battle.id, a=a, b=b, tie=tie)
            for battle, (a, b, tie) in zip(request.battles, probabilities, strict=True)
        ]
        return Battles(model=scoring.served.name, battles=answers)

    return router


def _row(battle: Battle) -> Row:
    prompt, a = conversation(battle.prompt, battle.response_a)
    same_prompt, b = conversation(battle.prompt, battle.response_b)
    if prompt != same_prompt:
        raise bad_request("the responses hold messages of users; expected those in the prompt")
    return Row(prompt, a, b)
