"""The audit finds in a model exactly the bias that was put in, and says rightly whether people have it too."""

import json
import re
from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import pytest
from scipy.special import log_softmax

from arena_data.loading import load_battles
from arena_data.schema import FEATURES
from arena_data.style.languages import guess_language
from arena_data.style.phrases import praises_itself
from arena_data.style.words import lower
from reward_model.audit.audit import audit
from reward_model.audit.counterfactuals import swapped
from reward_model.audit.observed import stance
from reward_model.evaluation.metrics import measure_swaps

Battles = datasets.Dataset


def characters(turns: list[str | None]) -> int:
    return sum(len(turn or "") for turn in turns)


def davidson(margin: np.ndarray, tie: float = 0.0) -> np.ndarray:
    return log_softmax(np.stack([margin / 2, -margin / 2, np.full(len(margin), tie)], axis=1), axis=1)


def by(reward: Callable[[list[str]], float]) -> Callable[[Battles], np.ndarray]:
    """A swap-exact model with this reward of a response."""
    return lambda battles: davidson(
        np.array([reward(a) - reward(b) for a, b in zip(battles["response_a"], battles["response_b"], strict=True)])
    )


likes_length = by(lambda turns: 0.5 * np.log2(1 + characters(turns)))
likes_bold = by(lambda turns: 1.0 * any("**" in (turn or "") for turn in turns))
likes_praise = by(lambda turns: 2.0 * any(praises_itself(lower(turn or "")) for turn in turns))


def likes_a(battles: Battles) -> np.ndarray:
    return davidson(np.full(len(battles), 0.8))


@pytest.fixture(scope="module")
def battles() -> Battles:
    loaded = load_battles("arena_data/sample.csv", labels="required")
    assert isinstance(loaded, Battles)
    return loaded


def audited(battles: Battles, model: Callable[[Battles], np.ndarray], **options: Any) -> dict[str, Any]:
    figures = audit(battles, model(battles), model, max_battles=40, progress=False, **options)
    return json.loads(json.dumps(figures, allow_nan=False))


def changes(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        row["name"]: row
        for family in ("verbosity", "formatting", "self_promotion")
        for row in figures[family]["changed"]
    }


def test_length_bias_is_found_and_nothing_else(battles: Battles) -> None:
    figures = audited(battles, likes_length)
    found = changes(figures)
    for name in ("padded", "said_twice", "closing"):
        assert found[name]["battles"] == 40 and found[name]["win_share"]["low"] > 0.01, name
        assert found[name]["gains"]["value"] == 1 and found[name]["length_factor"] > 1.1
    # Even battles: a doubling moves the margin from 0 to 0.5, and no probe can do more than twice what it adds there.
    even = np.exp(davidson(np.array([0.5])))[0]
    assert found["said_twice"]["length_factor"] == pytest.approx(2, rel=0.05)
    assert 0.5 * (even[0] + even[2] / 2 - 0.5) < found["said_twice"]["win_share"]["value"] < even[0] + even[2] / 2 - 0.5
    assert abs(found["bold_added"]["win_share"]["value"]) < 0.02
    assert figures["position"]["swapped"]["first"]["value"] == pytest.approx(0, abs=1e-12)
    assert figures["verbosity"]["per_doubling"]["model"]["low"] > 0.03
    curve = figures["verbosity"]["curve"]
    assert [row["model"]["value"] for row in curve] == sorted(row["model"]["value"] for row in curve)


def test_bold_is_worth_the_same_put_on_or_taken_off(battles: Battles) -> None:
    found = changes(audited(battles, likes_bold))
    assert found["bold_added"]["win_share"]["low"] > 0.05 and found["bold_removed"]["win_share"]["high"] < -0.05
    for name in ("lists_added", "lists_removed", "padded", "said_twice", "closing", "praise_added"):
        assert found[name]["win_share"]["value"] == pytest.approx(0, abs=1e-12), name


def test_praise_and_position_are_found(battles: Battles) -> None:
    praised = changes(audited(battles, likes_praise))
    assert praised["praise_added"]["win_share"]["low"] > 0.2
    assert praised["naming_added"]["win_share"]["value"] == pytest.approx(0, abs=1e-12)
    figures = audited(battles, likes_a)
    win = np.exp(likes_a(battles.select(range(1))))[0]
    first = figures["position"]["swapped"]["first"]
    assert first["value"] == pytest.approx(2 * (win[0] + win[2] / 2) - 1) and first["low"] > 0
    flips = measure_swaps(likes_a(battles), likes_a(swapped(battles)), list(battles["group"]))["swap_flips"]
    assert figures["position"]["swapped"]["swap_flips"]["value"] == flips.value == 1
    assert figures["position"]["observed"]["model"]["value"] == pytest.approx(first["value"])


def test_only_one_call_and_never_more_battles_than_asked_for(battles: Battles) -> None:
    seen: list[Battles] = []

    def model(changed: Battles) -> np.ndarray:
        seen.append(changed)
        return likes_length(changed)

    figures = audit(battles, likes_length(battles), model, max_battles=7, progress=False)
    assert len(seen) == 1 and seen[0].features == FEATURES
    assert len(set(seen[0]["id"])) == len(seen[0]) and all(row["battles"] <= 7 for row in changes(figures).values())


def synthetic(people_pull: float, battles: int = 3000) -> Battles:
    """Battles in which people lean to the longer response by so much margin a doubling."""
    random = np.random.default_rng(0)
    lengths = np.exp2(random.uniform(4, 9, size=(battles, 2))).astype(int)
    chances = np.exp(davidson(people_pull * (np.log2(lengths[:, 0] + 1) - np.log2(lengths[:, 1] + 1))))
    verdicts = np.eye(3)[[random.choice(3, p=three) for three in chances]]
    rows = {name: [None] * battles for name in FEATURES} | {
        "id": [str(row) for row in range(battles)],
        "prompt": [[f"prompt {row}"] for row in range(battles)],
        "response_a": [["x" * length] for length in lengths[:, 0]],
        "response_b": [["x" * length] for length in lengths[:, 1]],
        "verdict": verdicts.tolist(),
        "group": [str(row) for row in range(battles)],
        "oddities": [[]] * battles,
    }
    return Battles.from_dict(rows, features=FEATURES)


@pytest.mark.parametrize(
    ("people_pull", "word"),
    [(0.5, "copies"), (0.25, "amplifies"), (1.0, "dampens"), (0.0, "adds its own"), (-0.5, "reverses")],
)
def test_it_says_whether_the_model_copies_people(people_pull: float, word: str) -> None:
    figures = audited(synthetic(people_pull), likes_length)["verbosity"]["per_doubling"]
    assert figures["stance"] == word, figures


def test_few_battles_say_nothing() -> None:
    few = {"value": 0.5, "low": 0.4, "high": 0.6, "battles": 5}
    assert stance(few, few, few) == "too few battles"


def test_worst_battles(battles: Battles) -> None:
    rows = battles.select(range(3)).to_list()
    rows[0] |= {"response_a": [], "response_b": [None], "prompt": []}
    rows[1] |= {"response_a": ["天" * 9], "language": None, "verdict": [0.2, 0.3, 0.5]}
    strange = Battles.from_list(rows, features=FEATURES)
    for worst in (strange, strange.select([0]), strange.select([1, 1])):
        assert audited(worst, likes_length)["battles"] == len(worst)
    for wrong in (strange.select([]), Battles.from_list([rows[0] | {"verdict": None}], features=FEATURES)):
        with pytest.raises(ValueError, match="verdict"):
            audited(wrong, lambda battles: np.full((len(battles), 3), np.log(1 / 3)))
    with pytest.raises(ValueError, match=re.escape("shape")):
        audit(strange, likes_length(strange), lambda changed: np.zeros((len(changed), 2)), progress=False)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the capital of France, and who is the president of it?", "English"),
        ("¿Cuál es la capital de Francia y quién la gobierna?", "other, Latin letters"),
        ("法国的首都是哪里？请用 Python 写一个函数。", "Chinese"),
        ("フランスの首都はどこですか。", "Japanese"),
        ("Какая столица у Франции?", "Cyrillic script"),
        ("12 + 12 = ?", "other"),
    ],
)
def test_languages_are_guessed(text: str, language: str) -> None:
    assert guess_language(text) == language
