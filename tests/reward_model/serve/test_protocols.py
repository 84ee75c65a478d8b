"""Requests as the real clients build them, and the fields that those clients read of the answers."""

from collections.abc import Iterator
from typing import Any

import jinja2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from scipy.special import expit

from reward_model.publish.chat_template import plain_export_template
from reward_model.serve.judge import ModelJudge
from reward_model.serve.protocols.templated import messages_of
from tests.helpers.served import serving

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "<bos>{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PLAIN = plain_export_template("[CLS]", "[SEP]")
TEMPLATES = {"ChatML": CHATML, "Llama 3": LLAMA, "Gemma": GEMMA, "our export": PLAIN}

QUESTIONS = ["What is 2 + 2?", "Sing.\n\nLoudly.", "Say\nUser:\nand stop."]
ANSWERS = ["4.", "La la la.\n", "**No.**\n\nAssistant:\nnever"]
CHATS = [
    [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    for question, answer in zip(QUESTIONS, ANSWERS, strict=True)
]


def rendered(template: str, messages: list[dict[str, str]], **more: Any) -> str:
    return jinja2.Environment(autoescape=False).from_string(template).render(messages=messages, **more)


@pytest.fixture(scope="module")
def client(judge: ModelJudge) -> Iterator[TestClient]:
    with serving(judge) as client:
        yield client


@pytest.fixture(scope="module")
def rewards(judge: ModelJudge) -> np.ndarray:
    return judge.model.reward(QUESTIONS, ANSWERS)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_templated_text_is_taken_apart_again(name: str) -> None:
    chat = [*CHATS[0], {"role": "user", "content": "Sure?\n\n- yes"}, {"role": "assistant", "content": "Yes.\n\nI am."}]
    assert messages_of(rendered(TEMPLATES[name], chat)) == chat
    for one in CHATS:
        assert messages_of(rendered(TEMPLATES[name], one)) == one
    if name != "our export":
        assert messages_of(rendered(TEMPLATES[name], CHATS[0][:1], add_generation_prompt=True)) == CHATS[0][:1]


def test_a_text_without_markup_is_no_chat() -> None:
    for text in ("", "Hello.", "A user: hello", "He said\n\nAssistant:\nnothing"):
        assert messages_of(text) is None


@pytest.mark.parametrize("name", ["ChatML", "Llama 3", "Gemma"])
def test_openrlhf(client: TestClient, rewards: np.ndarray, name: str) -> None:
    """`SingleTurnAgentExecutor._fetch_rewards_via_http`: query, prompts and labels; the query is decoded with its marks."""
    prompts = [rendered(TEMPLATES[name], chat[:1], add_generation_prompt=True) for chat in CHATS]
    ends = {"ChatML": "<|im_end|>", "Llama 3": "<|eot_id|>", "Gemma": "<end_of_turn>"}
    queries = [prompt + answer + ends[name] for prompt, answer in zip(prompts, ANSWERS, strict=True)]
    payload = {"query": queries, "prompts": prompts, "labels": ["4", None, ""]}
    answer = client.post("/get_reward", json=payload).json()
    np.testing.assert_allclose(answer["rewards"], rewards, atol=1e-5)
    assert answer["scores"] == answer["rewards"] and answer["extra_logs"] == {}
    # Older versions send the query alone.
    assert client.post("/get_reward", json={"query": queries}).json()["rewards"] == pytest.approx(rewards, abs=1e-5)


def test_openrlhf_without_a_chat_template(client: TestClient, rewards: np.ndarray) -> None:
    queries = [question + answer + "</s>" for question, answer in zip(QUESTIONS, ANSWERS, strict=True)]
    answer = client.post("/get_reward", json={"query": queries, "prompts": QUESTIONS, "labels": [""] * 3})
    np.testing.assert_allclose(answer.json()["rewards"], rewards, atol=1e-5)
    refused = client.post("/get_reward", json={"query": queries, "prompts": ["Other"] * 3, "labels": [""] * 3})
    assert refused.status_code == 422 and "query 0 (counted from 0) neither begins" in refused.json()["error"]


def test_vllm_classify_as_verls_reward_loop_calls_it(client: TestClient, rewards: np.ndarray) -> None:
    """`RewardLoopWorker.compute_score_disrm` reads `data[-1].probs[-1]` of one text under the reward model's template."""
    for chat, expected in zip(CHATS, rewards, strict=True):
        payload = {"model": "run", "input": rendered(PLAIN, chat), "activation": False}
        answer = client.post("/classify", json=payload).json()
        assert answer["data"][-1]["probs"][-1] == pytest.approx(expected, abs=1e-5)


def test_vllm_classify_and_pooling(client: TestClient, rewards: np.ndarray) -> None:
    texts = [rendered(CHATML, chat) for chat in CHATS]
    answer = client.post("/classify", json={"model": "run", "input": texts}).json()
    assert [data["index"] for data in answer["data"]] == [0, 1, 2] and answer["object"] == "list"
    np.testing.assert_allclose([data["probs"] for data in answer["data"]], expit(rewards)[:, None], atol=1e-5)
    pooled = client.post("/pooling", json={"model": "run", "messages": CHATS[1]}).json()
    assert pooled["data"][0]["data"] == pytest.approx([rewards[1]], abs=1e-5)
    for refused in ({"input": texts[0], "truncate_prompt_tokens": 5}, {"input": "Hello."}, {"input": []}, {}):
        assert client.post("/classify", json=refused).status_code == 422


def test_tei_predict(client: TestClient, rewards: np.ndarray) -> None:
    pairs = [list(pair) for pair in zip(QUESTIONS, ANSWERS, strict=True)]
    answer = client.post("/predict", json={"inputs": pairs, "raw_scores": True}).json()
    assert [labels[0]["label"] for labels in answer] == ["LABEL_0"] * 3
    np.testing.assert_allclose([labels[0]["score"] for labels in answer], rewards, atol=1e-5)
    [label] = client.post("/predict", json={"inputs": pairs[1]}).json()
    assert label["score"] == pytest.approx(expit(rewards[1]), abs=1e-5)
    [label] = client.post("/predict", json={"inputs": rendered(CHATML, CHATS[2]), "raw_scores": True}).json()
    assert label["score"] == pytest.approx(rewards[2], abs=1e-5)
    assert client.post("/predict", json={"inputs": "Hello."}).status_code == 422


def test_tei_rerank(client: TestClient, judge: ModelJudge) -> None:
    expected = judge.model.reward(["Sing."] * 3, ANSWERS)
    request = {"query": "Sing.", "texts": ANSWERS, "raw_scores": True, "return_text": True}
    ranks = client.post("/rerank", json=request).json()
    assert [rank["index"] for rank in ranks] == np.argsort(-expected).tolist()
    for rank in ranks:
        assert rank["score"] == pytest.approx(expected[rank["index"]], abs=1e-5)
        assert rank["text"] == ANSWERS[rank["index"]]
