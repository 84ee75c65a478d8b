"""The server's own protocol, and what it answers to requests that it cannot take."""

import base64
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient

from reward_model.serve.judge import ModelJudge
from reward_model.serve.limits import Limits
from tests.helpers.served import HeldJudge, serving

PROMPTS = ["What is 2 + 2?", "Sing.", ["Hi?", "And now?"]]
RESPONSES = ["4.", "La la la, **la** la.", ["Hello.", "Bye."]]
OTHERS = ["5.", "No.", ["Yes?", "- one\n- two"]]
LIMITS = Limits(queued=50, rows=20, characters=5000, body_bytes=100_000, seconds=30)
GOOD = {"prompts": ["Hi"], "responses": ["Ho"]}


@pytest.fixture(scope="module")
def client(judge: ModelJudge) -> Iterator[TestClient]:
    with serving(judge, LIMITS) as client:
        yield client


def test_rewards_and_probabilities_are_those_of_offline_scoring(client: TestClient, judge: ModelJudge) -> None:
    answer = client.post("/v1/reward", json={"prompts": PROMPTS, "responses": RESPONSES})
    assert answer.status_code == 200 and answer.json()["model"] == "tiny"
    np.testing.assert_allclose(answer.json()["rewards"], judge.model.reward(PROMPTS, RESPONSES), atol=1e-5)

    expected = judge.model.compare(PROMPTS, RESPONSES, OTHERS)
    assert np.ptp(expected, axis=0).max() > 1e-3  # the battles differ, so an order that is lost would show
    battles = [
        {"id": f"b{place}", "prompt": prompt, "response_a": a, "response_b": b}
        for place, (prompt, a, b) in enumerate(zip(PROMPTS, RESPONSES, OTHERS, strict=True))
    ]
    answers = client.post("/v1/battles", json={"battles": battles}).json()["battles"]
    assert [battle["id"] for battle in answers] == ["b0", "b1", "b2"]
    np.testing.assert_allclose([[b["a"], b["b"], b["tie"]] for b in answers], expected, atol=1e-5)

    del battles[1]["id"]
    one = client.post("/v1/compare", json=battles[1]).json()
    np.testing.assert_allclose([one["a"], one["b"], one["tie"]], expected[1], atol=1e-5)


def test_verdict_sets_are_those_of_the_calibration(judge: ModelJudge) -> None:
    battle = {"prompt": PROMPTS[0], "response_a": RESPONSES[0], "response_b": OTHERS[0]}
    with serving(judge) as client:
        refused = client.post("/v1/compare", json={**battle, "coverage": 0.9})
        assert refused.status_code == 422 and "arena-reward calibrate" in refused.json()["error"]
    [expected] = judge.model.compare([PROMPTS[0]], [RESPONSES[0]], [OTHERS[0]])
    second, first = np.sort(expected)[1:]
    thresholds = {str(percent): first for percent in range(50, 90)} | {str(p): second for p in range(90, 100)}
    promising = HeldJudge(judge)
    promising.may_score.set()
    promising.set_thresholds = {percent: value - 1e-9 for percent, value in thresholds.items()}
    with serving(promising) as client:
        assert client.get("/ready").json()["coverages"][::49] == [0.5, 0.99]
        for coverage, size in ((0.5, 1), (0.89, 1), (0.9, 2), (0.99, 2)):
            answer = client.post("/v1/compare", json={**battle, "coverage": coverage}).json()
            likeliest = [("A", "B", "tie")[place] for place in np.argsort(-expected)[:size]]
            assert answer["verdict_set"] == sorted(likeliest)
            many = client.post("/v1/battles", json={"battles": [battle], "coverage": coverage}).json()["battles"]
            assert many == [{"id": None, **answer}]
        for coverage in (0.905, 0.4, 1.0, -1.0, "much"):
            assert client.post("/v1/compare", json={**battle, "coverage": coverage}).status_code == 422


def test_messages_are_read_as_in_training(client: TestClient, judge: ModelJudge) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
    completion = [{"role": "assistant", "content": [{"type": "text", "text": "Hello."}]}]
    rewards = client.post("/v1/reward", json={"prompts": [prompt], "responses": [completion]}).json()["rewards"]
    np.testing.assert_allclose(rewards, judge.model.trl_reward([prompt], [completion]), atol=1e-5)


def test_half_a_character_is_scored_and_given_back(client: TestClient) -> None:
    half = '{"battles": [{"id": "\\ud800", "prompt": "x", "response_a": "a \\udc00", "response_b": "b"}]}'
    answer = client.post("/v1/battles", content=half, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200 and "\\ud800" in answer.text


DEEP = "[" * 90_000
BAD = {
    "not JSON": ("{", 400),
    "nothing": ("", 422),
    "nested deeply": (DEEP, 400),
    "a list": ("[]", 422),
    "a number for a text": ('{"prompts": [1], "responses": ["x"]}', 422),
    "NaN for a text": ('{"prompts": [NaN], "responses": ["x"]}', 422),
    "a text for a list": ('{"prompts": "x", "responses": ["x"]}', 422),
    "no texts": ('{"prompts": [], "responses": []}', 422),
    "an unknown field": ('{"prompts": ["x"], "responses": ["x"], "secret": 1}', 422),
    "a field left out": ('{"prompts": ["x"]}', 422),
    "fewer responses": ('{"prompts": ["x", "y"], "responses": ["x"]}', 422),
    "no turns": ('{"prompts": [[]], "responses": ["x"]}', 422),
    "a role of its own": ('{"prompts": [[{"role": "king", "content": "x"}]], "responses": ["x"]}', 422),
    "content that is a number": ('{"prompts": [[{"role": "user", "content": 5}]], "responses": ["x"]}', 422),
    "only a system message": ('{"prompts": [[{"role": "system", "content": ""}]], "responses": [[]]}', 422),
    "too many texts": (json.dumps({"prompts": ["x"] * 21, "responses": ["x"] * 21}), 413),
    "a text too long": (json.dumps({"prompts": ["x" * 5001], "responses": ["x"]}), 413),
    "a body too large": (json.dumps({"prompts": ["x" * 100_000]}), 413),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_gets_one_line_and_the_server_lives(client: TestClient, name: str) -> None:
    body, status = BAD[name]
    answer = client.post("/v1/reward", content=body.encode(), headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    message = answer.json()["error"]
    assert (
        message and "\n" not in message and len(message) < 300 and "secret" not in message.replace("secret: Extra", "")
    )
    assert client.post("/v1/reward", json=GOOD).status_code == 200


def test_a_body_that_does_not_say_how_long_it_is_may_not_be_longer(client: TestClient) -> None:
    pieces = (b" " * 50_000 for _ in range(10))
    assert client.post("/v1/reward", content=pieces).status_code == 413


def test_the_key_is_asked_for_everywhere_but_in_health_checks(judge: ModelJudge) -> None:
    key = "correct-horse-battery"
    with serving(judge, key=key) as client:
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        basic = base64.b64encode(f"any:{key}".encode()).decode()
        for header, status in {
            f"Bearer {key}": 200,
            f"bearer {key}": 200,
            f"Basic {basic}": 200,
            "": 401,
            "Bearer": 401,
            f"Bearer {key[:-1]}": 401,
            f"Bearer {key}x": 401,
            f"Basic {key}": 401,
            "Bearer käse".encode().decode("latin-1"): 401,
        }.items():
            headers = {"Authorization": header.encode("latin-1")} if header else {}
            assert client.post("/v1/reward", json=GOOD, headers=headers).status_code == status, header
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 401


def test_requests_for_another_host_are_refused(judge: ModelJudge) -> None:
    with serving(judge, hosts=["127.0.0.1", "reward.internal"]) as client:
        for host, status in {"127.0.0.1": 200, "reward.internal:80": 200, "evil.example": 403}.items():
            assert client.get("/health", headers={"Host": host}).status_code == status
        assert client.post("/v1/reward", json=GOOD, headers={"Origin": "http://evil.example"}).status_code == 403


def test_metrics_count_what_was_asked(judge: ModelJudge, caplog: pytest.LogCaptureFixture) -> None:
    with serving(judge, LIMITS) as client, caplog.at_level("INFO", "reward_model.serve"):
        client.post("/v1/reward", json={"prompts": PROMPTS, "responses": RESPONSES})
        client.post("/v1/reward", json={"prompts": 3})
        client.get("/secret-path")
        text = client.get("/metrics").text
    assert 'arena_reward_requests_total{route="/v1/reward",status="200"} 1\n' in text
    assert 'arena_reward_requests_total{route="/v1/reward",status="422"} 1\n' in text
    assert 'arena_reward_requests_total{route="other",status="404"} 1\n' in text
    assert 'arena_reward_request_seconds_count{route="/v1/reward"} 2\n' in text
    assert "\narena_reward_rows_total 3\n" in text and "\narena_reward_workers_alive 1\n" in text
    for line in text.splitlines():
        assert line.startswith("# ") or re.fullmatch(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+', line)
    assert '"rows": 3' in caplog.text and "La la" not in caplog.text and "secret" not in caplog.text


def test_the_page_of_routes_needs_no_network(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "/v1/reward" in page and "/get_reward" in page and "<script" not in page and "http" not in page
    schema = client.get("/openapi.json").json()
    assert {"/v1/compare", "/classify", "/rerank"} <= set(schema["paths"])
    assert client.get("/redoc").status_code == 404
