"""`/predict` and `/rerank` of Text Embeddings Inference (TEI), as a classifier of one label answers them.

A pair is (prompt, response); a single text must have a known chat markup. Scores are sigmoids of rewards unless
`raw_scores`. Texts are always cut fairly, so `truncate` changes nothing.

Source: https://huggingface.github.io/text-embeddings-inference/ and `router/src/http/types.rs` of
https://github.com/huggingface/text-embeddings-inference.
"""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from scipy.special import expit

from arena_data.reading.in_memory import Text
from reward_model.serve.limits import bad_request
from reward_model.serve.protocols.templated import messages_of
from reward_model.serve.protocols.texts import Strict, from_messages
from reward_model.serve.scoring import Scoring

OneOrTwo = Annotated[list[str], Field(min_length=1, max_length=2)]


class PredictRequest(Strict):
    """A text, a pair of texts, or a list of lists of one or two."""

    inputs: str | OneOrTwo | Annotated[list[OneOrTwo], Field(min_length=1)]
    truncate: bool = False
    truncation_direction: str = "right"
    raw_scores: bool = False


class RerankRequest(Strict):
    """A prompt and its responses."""

    query: str
    texts: Annotated[list[str], Field(min_length=1)]
    truncate: bool = False
    truncation_direction: str = "right"
    raw_scores: bool = False
    return_text: bool = False


def routes(scoring: Scoring) -> APIRouter:
    """`/predict` and `/rerank`."""
    router = APIRouter(tags=["TEI"])

    async def scores(pairs: list[tuple[Text, Text]], raw: bool) -> list[float]:
        rewards = await scoring.rewards(pairs)
        return rewards if raw else [float(expit(reward)) for reward in rewards]

    @router.post("/predict")
    async def predict(request: PredictRequest) -> list[Any]:
        """The only label's score of each input: a list, or a list of lists for a batch."""
        inputs = [request.inputs] if isinstance(request.inputs, str) else request.inputs
        is_batch = isinstance(inputs[0], list)
        batch: list[Any] = list(inputs) if is_batch else [inputs]
        pairs = [_pair(place, sequence) for place, sequence in enumerate(batch)]
        labels = [[{"score": score, "label": "LABEL_0"}] for score in await scores(pairs, request.raw_scores)]
        return labels if is_batch else labels[0]

    @router.post("/rerank")
    async def rerank(request: RerankRequest) -> list[dict[str, Any]]:
        """The responses, best first."""
        pairs: list[tuple[Text, Text]] = [(request.query, text) for text in request.texts]
        ranks = [
            {"index": place, "score": score} | ({"text": request.texts[place]} if request.return_text else {})
            for place, score in enumerate(await scores(pairs, request.raw_scores))
        ]
        return sorted(ranks, key=lambda rank: -float(str(rank["score"])))

    return router


def _pair(place: int, sequence: list[str]) -> tuple[Text, Text]:
    if len(sequence) == 2:
        return sequence[0], sequence[1]
    if not (messages := messages_of(sequence[0])):
        raise bad_request(f"input {place} (counted from 0) has no known chat markup; send a pair [prompt, response]")
    return from_messages(messages)
