"""`RewardModel`: the numbers of predict.py from Python, for one text and for many."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.reading.in_memory import make_battles
from arena_data.schema import FEATURES
from reward_model.api import Probabilities, RewardModel
from reward_model.calibration.calibration import Calibration
from reward_model.cli.flags import PredictionFlags, open_predictor
from reward_model.errors import ScoringError
from reward_model.predict.member import Job
from reward_model.publish.demo.comparison import compare
from tests.helpers.run_directories import make_run

SAMPLE = Path(__file__).parents[2] / "arena_data" / "sample.csv"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return make_run(folder, model_type="adapter", calibration=Calibration("temperature", {"temperature": 1.7}))


@pytest.fixture(scope="module")
def model(run: Path) -> RewardModel:
    return RewardModel.from_pretrained(run, dtype="float32", device="cpu")


def test_texts_in_memory_are_the_files_battles() -> None:
    battles = load_battles(SAMPLE)
    made = make_battles(*(battles[name] for name in ("prompt", "response_a", "response_b")))
    assert made.features == FEATURES
    for name in ("prompt", "response_a", "response_b", "group"):
        assert list(made[name]) == list(battles[name])
    # A null turn is an empty text once it has been read.
    seen = [[name for name in names if name != "null_turn"] for names in battles["oddities"]]
    assert list(made["oddities"]) == seen
    odd = make_battles(["a\r\nb"], ["\ud800x"], [["y", None]])
    assert odd[0]["prompt"] == ["a\nb"] and odd[0]["response_a"] == ["\ufffdx"]
    assert odd[0]["oddities"] == ["carriage_return", "lone_surrogate", "null_turn", "unequal_turns"]
    with pytest.raises(ValueError, match="1 prompts, 2 and 1 responses"):
        make_battles(["a"], ["b", "c"], ["d"])


def test_probabilities_are_predictions(run: Path, model: RewardModel) -> None:
    battles = load_battles(SAMPLE).select(range(20))
    columns = [list(battles[name]) for name in ("prompt", "response_a", "response_b")]
    expected = np.exp(open_predictor(PredictionFlags(model=[str(run)], dtype="float32", device="cpu")).predict(battles))
    found = model.compare(*columns)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(model.compare(columns[0], columns[2], columns[1]), found[:, [1, 0, 2]], atol=1e-6)
    one = model.compare(columns[0][0][0], columns[1][0][0], columns[2][0][0])
    assert isinstance(one, Probabilities) and sum(one) == pytest.approx(1)


def test_a_reward_has_no_style_and_takes_batches(run: Path, model: RewardModel) -> None:
    prompts, responses = ["What is 2 + 2?"] * 3, ["4.", "5.", "- 4\n- four"]
    rewards = model.reward(prompts, responses)
    assert rewards.shape == (3,) and len(set(rewards.tolist())) == 3
    assert model.reward(prompts[1], responses[1]) == pytest.approx(rewards[1], abs=1e-5)
    flags = PredictionFlags(model=[str(run)], dtype="float32", device="cpu", style="off")
    battles = make_battles(prompts[:1], responses[:1], responses[2:])
    scores = open_predictor(flags).run(Job(battles)).members[0].scores
    assert scores is not None
    assert scores.margin[0] == pytest.approx(rewards[0] - rewards[2], abs=1e-5)


def test_trl_forms(model: RewardModel) -> None:
    plain = model.trl_reward(["Hi?", "Hi?"], ["Hello.", "No."], completion_ids=[[1], [2]])
    chat = model.trl_reward(
        [[{"role": "user", "content": "Hi?"}]] * 2,
        [[{"role": "assistant", "content": "Hello."}], [{"role": "assistant", "content": "No."}]],
    )
    assert chat == pytest.approx(plain, abs=1e-5) and all(isinstance(reward, float) for reward in plain)
    history = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi?"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye?"},
    ]
    found = model.trl_reward([history], [[{"role": "assistant", "content": "Bye."}]])
    expected = model.reward([["Be kind.\n\nHi?", "Bye?"]], [["Hello.", "Bye."]])
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def test_every_form_of_trls_messages(model: RewardModel) -> None:
    asked = [{"type": "text", "text": "Add 1"}, {"type": "text", "text": "and 2."}]
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": asked}]
    prompt.append({"role": "user", "content": "Now."})
    completion: list[dict[str, object]] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "name": "add", "content": "3"},
        {"role": "assistant", "content": [{"type": "text", "text": "3."}]},
    ]
    expected = model.reward(
        [["Be kind.\n\nAdd 1\nand 2.\n\nNow."]], [['[tool call] add {"a": 1}\n\n[tool result] 3\n\n3.']]
    )
    assert model.trl_reward([prompt], [completion]) == pytest.approx(expected.tolist(), abs=1e-5)
    missing = model.trl_reward([prompt], [[{"role": "assistant"}]])
    assert missing == pytest.approx(model.reward([["Be kind.\n\nAdd 1\nand 2.\n\nNow."]], [[""]]).tolist(), abs=1e-5)
    with pytest.raises(ValueError, match="a role of user, assistant, system or tool"):
        model.trl_reward([prompt], [[{"role": "critic", "content": "No."}]])


def test_chat_messages_are_taken_wherever_texts_are(model: RewardModel) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi?"}]}]
    call = {"type": "function", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}
    hello = [{"role": "assistant", "content": "Hello.", "tool_calls": [call]}]
    bye = [{"role": "assistant", "content": "Bye."}]
    texts = (["Be brief.\n\nHi?"], ['Hello.\n[tool call] clock {"zone": "UTC"}'], ["Bye."])
    expected = model.compare(*([text] for text in texts))[0]
    assert model.compare(asked, hello, bye) == pytest.approx(tuple(expected), abs=1e-5)
    assert model.compare([asked, asked], [hello, hello], ["Bye.", bye])[1] == pytest.approx(expected, abs=1e-5)
    assert model.reward(asked, hello) == pytest.approx(model.reward([texts[0]], [texts[1]])[0], abs=1e-5)


def test_a_loaded_model_reads_no_file_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    model = RewardModel.from_pretrained(folder, dtype="float32", device="cpu")
    before = model.compare("p", "a", "bb")
    shutil.rmtree(folder)
    assert model.compare("p", "a", "bb") == before


def test_threads_get_their_own_answers(model: RewardModel) -> None:
    texts = [f"{number} " * (1 + number % 7) for number in range(24)]
    expected = [model.compare("p", text, "b") for text in texts]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda text: model.compare("p", text, "b"), texts))
    np.testing.assert_allclose(answers, expected, atol=1e-6)


def test_errors_are_one_line(tmp_path: Path, model: RewardModel) -> None:
    with pytest.raises(InputError, match="no such run directory"):
        RewardModel.from_pretrained(tmp_path / "none")
    with pytest.raises(ValueError, match="one text beside a list"):
        model.reward("a", ["b"])  # type: ignore[call-overload]
    joint = RewardModel.from_pretrained(make_run(tmp_path / "joint", kind="bert", encoding="joint"), dtype="float32")
    with pytest.raises(InputError, match="joint encoding has no reward"):
        joint.reward("a", "b")
    a, b, tie = joint.compare("a", "b", "ccc")
    assert joint.compare("a", "ccc", "b") == pytest.approx((b, a, tie), abs=1e-5)


@pytest.fixture
def unreadable(model: RewardModel, monkeypatch: pytest.MonkeyPatch) -> str:
    """A word whose texts the model fails on."""
    scorer = model.run.member._loaded_scorer()
    plain = scorer._forward
    marked = scorer.loaded.tokenizer("zzz")["input_ids"]

    def fails(rows: list[list[int]]) -> object:
        if any(row[place : place + len(marked)] == marked for row in rows for place in range(len(row))):
            raise RuntimeError("no kernel for this text")
        return plain(rows)

    monkeypatch.setattr(scorer, "_forward", fails)
    return "zzz"


def test_a_text_that_cannot_be_scored_is_an_error_and_never_the_prior(model: RewardModel, unreadable: str) -> None:
    good, bad = ["a b", "c d", "e f"], ["a b", "c d", unreadable]
    for call in (
        lambda: model.compare("p", "a", unreadable),
        lambda: model.reward("p", unreadable),
        lambda: model.trl_reward(["p"], [unreadable]),
        lambda: compare(model, "p", "a", unreadable, style=True),  # of two orders
    ):
        with pytest.raises(ScoringError, match=r"text 0 of [12] .*no kernel for this text"):
            call()
    for call in (lambda: model.compare(good, good, bad), lambda: model.reward(good, bad)):
        with pytest.raises(ScoringError, match="text 2 of 3"):
            call()
    rewards, probabilities = model.reward(good, bad, errors="nan"), model.compare(good, good, bad, errors="nan")
    assert np.isnan(rewards).tolist() == [False, False, True]
    assert np.isnan(probabilities).all(axis=1).tolist() == [False, False, True]
    assert np.isfinite(probabilities[:2]).all()
    with pytest.raises(ValueError, match="expected 'raise' or 'nan'"):
        model.compare("p", "a", "b", errors="ignore")  # type: ignore[call-overload]
