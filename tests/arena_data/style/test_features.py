"""Style features: what they count, that swapping a battle swaps them, and that no input breaks or stalls them."""

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena_data.errors import InputError
from arena_data.style.features import (
    FEATURE_NOTES,
    PAIR_FEATURES,
    RESPONSE_FEATURES,
    STYLE_VERSION,
    StyleArrays,
    response_features,
    similarity,
    style_arrays,
)
from arena_data.style.lengths import LENGTH_FEATURES, LIMIT_THOUSANDS, summarise

ROOT = Path(__file__).resolve().parents[3]
ARENA = ROOT.parent / "shared" / "data" / "arena"
TURNS = st.lists(st.none() | st.text(max_size=60), max_size=4)


def read(*response: str | None, prompt: tuple[str | None, ...] = ("Hello",)) -> dict[str, float]:
    return dict(zip(RESPONSE_FEATURES, response_features(prompt, response).tolist(), strict=True))


def number(feature: float) -> int:
    return round(float(np.expm1(feature)))


def test_every_feature_has_a_name_of_its_own_and_a_note() -> None:
    assert len(LENGTH_FEATURES) == 14 and set(LENGTH_FEATURES) < set(RESPONSE_FEATURES)
    assert (*(f"abs_{name}" for name in RESPONSE_FEATURES), "similarity") == PAIR_FEATURES
    assert tuple(FEATURE_NOTES) == RESPONSE_FEATURES + PAIR_FEATURES
    assert all(note.endswith(".") for note in FEATURE_NOTES.values())


def test_the_page_about_style_lists_every_feature_with_its_note() -> None:
    page = (ROOT / "docs" / "style.md").read_text(encoding="utf-8")
    assert f"version {STYLE_VERSION} (" in page and f"{len(RESPONSE_FEATURES)} numbers" in page
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert tuple(name for name, _ in rows) == (*RESPONSE_FEATURES, "similarity")
    assert {name: FEATURE_NOTES[name] for name, _ in rows} == dict(rows)


def test_length_features_agree_with_numpy() -> None:
    response, prompt = ["a" * 100, "b" * 2500, "c" * 700, ""], ["d" * 50, "e" * 900]
    own, asked = np.array([100, 2500, 700, 0]), np.array([50, 900])
    effective = (own**2).sum() / own.sum() / 1000
    features = response_features(prompt, response)[[RESPONSE_FEATURES.index(name) for name in LENGTH_FEATURES]]
    k = own / 1000
    expected = [k.sum(), k.mean(), k.max(), *np.log1p([own.sum(), own.mean(), own.max()])]
    expected += [np.median(k), k.std(), effective]
    expected += [k.sum() - 0.95, k.mean() - 0.475, k.max() - 0.9, np.median(k) - 0.475]
    expected += [effective - (asked**2).sum() / asked.sum() / 1000]
    np.testing.assert_allclose(features, expected, rtol=1e-6)


def test_length_summary_of_equal_turns_and_of_none() -> None:
    assert summarise([7, 7, 7]) == (21, 7, 7, 7, 0, 7)
    assert summarise([]) == summarise([0, 0]) == (0, 0, 0, 0, 0, 0)


MARKDOWN = """# Title
## Part two
- one **bold** and `code`
* two __not bold__ and **more bold**
1. first
2) second

| a | b |
|---|:-:|
| 1 | 2 |

```python
# not a heading
- not a bullet, why? wow!
```
Is it? Yes! **unclosed
#hashtag 3.14 is no item"""


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("log_headings", 2),
        ("log_bullets", 2),
        ("log_numbered", 2),
        ("log_bold", 2),
        ("log_inline_code", 1),
        ("log_tables", 1),
        ("log_code_blocks", 1),
        ("log_code_lines", 2),
        ("log_questions", 1),
        ("log_exclamations", 1),
        ("log_lines", 15),
        ("log_emoji", 0),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_markup_is_counted_outside_code(feature: str, expected: int, newline: str) -> None:
    assert number(read(MARKDOWN.replace("\n", newline))[feature]) == expected
    assert number(read(MARKDOWN, None, MARKDOWN)[feature]) == 2 * expected


def test_open_and_one_line_fences() -> None:
    unclosed = read("```\n- a\n- b")
    assert number(unclosed["log_code_blocks"]) == 1 and unclosed["log_bullets"] == 0
    closed_at_once = read("```x = 1```\n- a")
    assert number(closed_at_once["log_code_blocks"]) == 1 and number(closed_at_once["log_bullets"]) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, it’s fine.", 4),
        ("你好，世界！", 4),
        ("コーヒーを飲む", 5),
        ("हिन्दी में", 2),
        ("naïve café", 2),
        ("Привет, мир", 2),
        ("안녕 세계", 2),
        ("👩‍👩‍👧 😀😀 🇩🇪 ❤️", 5),
        ("...!?", 0),
    ],
)
def test_words_of_any_script(text: str, words: int) -> None:
    assert number(read(text)["log_words"]) == words


def test_words_do_not_depend_on_the_fast_path() -> None:
    """A letter beyond Latin sends the whole text down the general path; it may add its own word only."""
    plain = "It's 3.5 m_2 «naïve» – “quoted” … Ünïted straße ÷ don't"
    assert number(read(plain + " я")["log_words"]) == number(read(plain)["log_words"]) + 1


def test_full_width_punctuation_and_lists() -> None:
    features = read("真的吗？太好了！\n一、苹果\n2、梨\n（3）桃\n• 李\n・杏")
    assert number(features["log_questions"]) == number(features["log_exclamations"]) == 1
    assert number(features["log_numbered"]) == 3 and number(features["log_bullets"]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I’m unable to provide that.",
        "I cannot in good conscience help with this.",
        "抱歉，我不能这样做。",
        "Lo siento, pero no puedo hacerlo.",
        "К сожалению, я не могу этого сделать.",
        "申し訳ありませんが、お答えできません。",
    ],
)
def test_refusals(text: str) -> None:
    assert read(text)["refusal"] == 1
    assert read(text, "Sure, here it is.")["refusal"] == 0.5


@pytest.mark.parametrize("text", ["I can't help but smile.", "You cannot divide by zero.", "It is able to assist you."])
def test_no_refusal(text: str) -> None:
    assert read(text)["refusal"] == 0


def test_disclaimer_and_self_praise() -> None:
    assert read("As an AI language model, I have no opinions.")["disclaimer"] == 1
    assert read("作为一个人工智能，我没有感情。")["disclaimer"] == 1
    assert read("AI language models are neural networks.")["disclaimer"] == 0
    assert read("I think my answer is the best.")["self_praise"] == 1
    assert read("The best answer is 42.")["self_praise"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "I am ChatGPT, a chatbot.",
        "Hi! I’m **Claude**, made by Anthropic.",
        "My name is Vicuna.",
        "I am a language model trained by researchers from Large Model Systems Organization (LMSYS).",
        "As ChatGPT, I cannot eat.",
        "As an AI language model developed by OpenAI, I don't have feelings.",
        "I am a large language model, trained by Google.",
        "我是一个由OpenAI训练的语言模型",
        "Soy ChatGPT.",
        "Je suis un modèle de langage développé par OpenAI.",
        "Ich bin GPT-4.",
        "私はChatGPTです",
    ],
)
def test_self_naming(text: str) -> None:
    assert read(text)["self_naming"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "ChatGPT was developed by OpenAI.",
        "Models such as GPT-4 and Claude are good, I think.",
        "I'm a gemini, born in June.",
        "As a koala, I eat leaves.",
        "I like ChatGPT.",
        "I am sure. Gemini is a star sign.",
        "I am Mistralina.",
        "我喜欢ChatGPT",
    ],
)
def test_a_mere_mention_is_no_self_naming(text: str) -> None:
    assert read(text)["self_naming"] == 0


def test_emptiness_counts_turns_that_got_no_answer() -> None:
    assert read()["empty"] == read(None)["empty"] == read(" \u200b\n\0")["empty"] == 1
    assert read("yes")["empty"] == 0
    assert read("yes", prompt=("a", "b"))["empty"] == 0.5
    assert read("yes", "", "no", "ok")["empty"] == 0.25


def test_unfinished_repetition_and_script() -> None:
    assert read("It ends.")["unfinished"] == 0 and read("It ends in the mid")["unfinished"] == 1
    assert read("a b c d\na b c d\nx y z w.")["repeated_lines"] == pytest.approx(1 / 3)
    assert read("one two three four five six")["repeated_four_grams"] == 0
    assert read("the same " * 50)["repeated_four_grams"] > 0.95
    assert read("Привет", prompt=("Hello",))["other_script"] == 1
    assert read("Привет", prompt=("Привет",))["other_script"] == 0


def test_similarity() -> None:
    assert similarity(["the cat sat"], ["The cat  sat!"]) == 1
    assert similarity(["a b c d"], ["a b x y"]) == 0.5
    assert similarity(["a a a a"], ["a"]) == pytest.approx(2 / 5)
    assert similarity(["你好吗"], ["你好呀"]) == pytest.approx(2 / 3)
    assert similarity(["😀"], ["😀"]) == 1 and similarity(["😀"], ["😡"]) == 0
    assert similarity(["..."], ["..."]) == 1 and similarity(["..."], ["!"]) == 0
    assert similarity([], [None, ""]) == 1 and similarity(["a"], []) == 0


@settings(max_examples=150, deadline=None, database=None)
@given(prompt=TURNS, response_a=TURNS, response_b=TURNS)
def test_swapping_a_battle_leaves_pair_features_bit_for_bit(
    prompt: list[str | None], response_a: list[str | None], response_b: list[str | None]
) -> None:
    style, swapped = (
        style_arrays(
            datasets.Dataset.from_dict({"prompt": [prompt], "response_a": [a], "response_b": [b]}), progress=False
        )
        for a, b in ((response_a, response_b), (response_b, response_a))
    )
    assert style.pair.dtype == np.float32 and style.pair.shape == (1, len(PAIR_FEATURES))
    assert np.isfinite(style.a).all() and np.isfinite(style.pair).all() and (style.pair >= 0).all()
    assert style.pair[0, -1] <= 1
    np.testing.assert_array_equal(style.pair, swapped.pair)
    np.testing.assert_array_equal(style.a, swapped.b)
    same = StyleArrays(style.a, style.a, np.array([similarity(response_a, response_a)], dtype=np.float32)).pair[0]
    assert not same[:-1].any() and same[-1] == 1


@settings(max_examples=50, deadline=None, database=None)
@given(prompt=TURNS, response=TURNS)
def test_a_null_turn_is_an_empty_one(prompt: list[str | None], response: list[str | None]) -> None:
    filled = response_features([turn or "" for turn in prompt], [turn or "" for turn in response])
    np.testing.assert_array_equal(response_features(prompt, response), filled)


WORST = ("a", "?", "\n", "*", "`", "**a", "|-", "# ", "文", "😀", "\0", "\ud800", " ", "a'", "1. ", "as a ", "`a")


@pytest.mark.parametrize("unit", [*WORST, "i am so gpt ", "i cannot aaaa ", "👩\u200d", "```\n", "e\u0301", "- a\n"])
def test_hostile_text_is_finite_and_takes_linear_time(unit: str) -> None:
    seconds = []
    for characters in (50_000, 400_000):
        text = unit * (characters // len(unit))
        start = time.process_time()
        features = response_features([text], [text + "x", text])
        alike = similarity([text], [text + " x"])
        seconds.append(time.process_time() - start)
        assert np.isfinite(features).all() and 0 <= alike <= 1
        assert np.abs(features).max() <= LIMIT_THOUSANDS
    # Eight times the text: quadratic time would be 64 times the seconds. The constant allows for a busy machine.
    assert seconds[1] < 24 * seconds[0] + 0.5


def test_a_string_is_no_list_of_turns() -> None:
    with pytest.raises(TypeError, match="list of turns"):
        response_features(["x"], "text")
    with pytest.raises(TypeError, match="list of turns"):
        similarity("text", ["text"])


def battles(count: int) -> datasets.Dataset:
    rows = [
        {"prompt": [f"Why {i}?"], "response_a": ["- yes\n" * (i % 7), None], "response_b": [f"No {i}!"], "id": str(i)}
        for i in range(count)
    ]
    return datasets.Dataset.from_list(rows)


def test_style_arrays_agree_with_single_battles_whatever_the_processes() -> None:
    several = battles(1100)
    one, two = (style_arrays(several, num_proc=processes, progress=False) for processes in (1, 2))
    assert one.a.shape == one.b.shape == (1100, len(RESPONSE_FEATURES)) and one.similarity.shape == (1100,)
    for name in ("a", "b", "similarity"):
        assert getattr(one, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for row in (0, 511, 512, 1099):
        battle = several[row]
        np.testing.assert_array_equal(one.a[row], response_features(battle["prompt"], battle["response_a"]))
        np.testing.assert_array_equal(one.b[row], response_features(battle["prompt"], battle["response_b"]))
        alike = np.float32(similarity(battle["response_a"], battle["response_b"]))
        np.testing.assert_array_equal(one.pair[row], np.append(np.abs(one.a[row] - one.b[row]), alike))


def test_style_arrays_of_nothing_and_of_null_conversations() -> None:
    nothing = style_arrays(battles(3).select([]), progress=False)
    assert nothing.a.shape == (0, len(RESPONSE_FEATURES)) and nothing.similarity.shape == (0,)
    column = datasets.List(datasets.Value("string"))
    features = datasets.Features({"prompt": column, "response_a": column, "response_b": column})
    null = datasets.Dataset.from_dict({name: [None] for name in features}, features=features)
    arrays = style_arrays(null, progress=False)
    assert arrays.a[0, RESPONSE_FEATURES.index("empty")] == 1 and arrays.similarity[0] == 1


def test_style_arrays_names_the_missing_column() -> None:
    with pytest.raises(InputError, match="'response_b'"):
        style_arrays(battles(2).remove_columns("response_b"), progress=False)


def test_processes_start_from_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import datasets\nfrom arena_data.style.features import style_arrays\nprint('started')\n"
        "row = {'prompt': ['x'], 'response_a': ['y'], 'response_b': ['z']}\n"
        "print(style_arrays(datasets.Dataset.from_list([row] * 1100), num_proc=2, progress=False).a.shape[0])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    assert done.stdout.split() == ["started", "1100"]


@pytest.mark.skipif(not ARENA.exists(), reason="needs ../shared/data")
def test_real_battles_longer_and_unrefused_answers_win() -> None:
    csv.field_size_limit(10**9)
    with (ARENA / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ("prompt", "response_a", "response_b")
    arena = datasets.Dataset.from_list([{column: json.loads(row[column]) for column in columns} for row in rows])
    arrays = style_arrays(arena, num_proc=1, progress=False)
    assert np.isfinite(arrays.a).all() and np.isfinite(arrays.b).all()
    won = np.array([int(row["winner_model_a"]) - int(row["winner_model_b"]) for row in rows])
    difference = arrays.a - arrays.b
    assert np.corrcoef(difference[won != 0, RESPONSE_FEATURES.index("length_log_sum")], won[won != 0])[0, 1] > 0.15
    assert np.corrcoef(difference[won != 0, RESPONSE_FEATURES.index("refusal")], won[won != 0])[0, 1] < -0.05
    assert arrays.similarity[won == 0].mean() > arrays.similarity[won != 0].mean() + 0.02
