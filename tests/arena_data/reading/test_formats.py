"""Formats are told apart by their columns: the same battles, written the way each release writes them, read equal.

Every file is written here in the shape of the release it stands for; none is copied from one.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arena_data.errors import InputError
from arena_data.loading import load_battles
from arena_data.schema import FEATURES

Row = dict[str, Any]
Writer = Callable[[list[Row], Path], None]

# Prompt, response A, response B, winner. Quotes, commas, line ends, brackets and other alphabets break readers.
TURNS = [
    (["Say hi"], ["Hi!"], ["Hello, you"], "model_a"),
    (['Quote "this",\nthen stop', "And now?"], ['"this"\n', "Done."], ["no", "[yes]"], "tie"),
    (["Что это? 猫"], ["Кошка 🐈"], ["a cat\u2028and more"], "model_b"),
]
SINGLE = [
    ("Say hi", "Hi!", "Yes, hello", "model_a"),
    ('Quote "this",\nthen stop', "It is\n\n- this", "[no]", "model_b"),
    ("Что это? 猫", "Кошка 🐈", "a cat", "model_b"),
]
VERDICTS = {"model_a": [1, 0, 0], "model_b": [0, 1, 0], "tie": [0, 0, 1]}
BATTLE = ("prompt", "response_a", "response_b", "verdict", "group")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., datasets.Dataset]:
    return lambda *files, **options: load_battles(
        [str(file) for file in files], cache_dir=str(tmp_path / "cache"), **options
    )


def write_csv(rows: list[Row], file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        nested = (list, dict)
        writer.writerows({k: json.dumps(v) if isinstance(v, nested) else v for k, v in row.items()} for row in rows)


def write_jsonl(rows: list[Row], file: Path) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(rows: list[Row], file: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows), file)


WRITERS = {".csv": write_csv, ".jsonl": write_jsonl, ".parquet": write_parquet}
every_container = pytest.mark.parametrize("ending", WRITERS)


def one_hot(winner: str) -> Row:
    names = ("model_a", "model_b", "tie")
    return {f"winner_{name}": int(verdict) for name, verdict in zip(names, VERDICTS[winner], strict=True)}


def kaggle(prompt: Any, a: Any, b: Any, winner: str, number: int) -> Row:
    texts = {"prompt": json.dumps(prompt), "response_a": json.dumps(a), "response_b": json.dumps(b)}
    return {"id": number, "model_a": "gpt-4", "model_b": "vicuna-13b", **texts, **one_hot(winner)}


def messages(prompt: list[str], answers: list[str]) -> list[Row]:
    pairs = zip(prompt, answers, strict=True)
    return [m for p, r in pairs for m in ({"role": "user", "content": p}, {"role": "assistant", "content": r})]


def parts(conversation: list[Row]) -> list[Row]:
    def part(text: str) -> Row:
        return {"type": "text", "text": text, "image": None, "mimeType": None}

    return [{"role": m["role"], "content": [part(m["content"])]} for m in conversation]


def hub(prompt: Any, a: Any, b: Any, winner: str, number: int) -> Row:
    sides = {"conversation_a": messages(prompt, a), "conversation_b": messages(prompt, b)}
    meta = {"judge": "arena_user_1", "turn": len(prompt), "anony": True, "language": "English", "tstamp": 1.5e9}
    return {"question_id": f"q{number}", "model_a": "koala", "model_b": "alpaca", "winner": winner, **sides, **meta}


def hub_parts(prompt: Any, a: Any, b: Any, winner: str, number: int) -> Row:
    row = hub(prompt, a, b, {"tie": "both_bad"}.get(winner, winner), number)
    whole = row["conversation_a"]
    return (
        row | {name: parts(row[name]) for name in ("conversation_a", "conversation_b")} | {"full_conversation": whole}
    )


def turn_lists(prompt: Any, a: Any, b: Any, winner: str, number: int) -> Row:
    return {"id": f"y{number}", "prompt": prompt, "response_a": a, "response_b": b, "winner": winner}


def battles_of(dataset: datasets.Dataset) -> list[Row]:
    return [{name: row[name] for name in BATTLE} for row in dataset]


SHAPES = {"kaggle": kaggle, "hub": hub, "hub with parts": hub_parts, "lists of turns": turn_lists}


@every_container
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_battles_read_equal_from_every_shape_and_container(
    shape: str, ending: str, tmp_path: Path, load: Callable[..., datasets.Dataset]
) -> None:
    file = tmp_path / f"some{ending}"
    WRITERS[ending]([SHAPES[shape](*battle, number) for number, battle in enumerate(TURNS)], file)
    battles = load(file, labels="required")
    assert battles.features == FEATURES
    assert [(b["prompt"], b["response_a"], b["response_b"], b["verdict"]) for b in battles] == [
        (prompt, a, b, VERDICTS[winner]) for prompt, a, b, winner in TURNS
    ]
    reference = tmp_path / "reference.jsonl"
    write_jsonl([turn_lists(*battle, number) for number, battle in enumerate(TURNS)], reference)
    assert battles_of(battles) == battles_of(load(reference))
    assert battles["oddities"] == [[], [], []]
    assert battles["source"] == ["some"] * 3


@every_container
def test_wsdm_cells_are_plain_text(ending: str, tmp_path: Path, load: Callable[..., datasets.Dataset]) -> None:
    rows = [
        {"id": f"{n:064x}", "prompt": p, "response_a": a, "response_b": b, "winner": w, "model_a": "x", "model_b": "y"}
        | {"language": "Russian"}
        for n, (p, a, b, w) in enumerate(SINGLE)
    ]
    WRITERS[ending](rows, tmp_path / f"train{ending}")
    battles = load(tmp_path / f"train{ending}", labels="required")
    assert battles["prompt"] == [[p] for p, *_ in SINGLE]
    assert battles["response_b"] == [[b] for *_, b, _ in SINGLE]  # "[no]" is what the model said, not a JSON list.
    assert battles["verdict"] == [VERDICTS[w] for *_, w in SINGLE]
    assert set(battles["language"]) == {"Russian"} and battles["id"][2] == "0" * 63 + "2"

    test_rows = [{k: row[k] for k in ("id", "prompt", "response_a", "response_b")} | {"scored": True} for row in rows]
    WRITERS[ending](test_rows, tmp_path / f"test{ending}")
    unlabelled = load(tmp_path / f"test{ending}")
    assert unlabelled["verdict"] == [None] * 3
    assert unlabelled["prompt"] == battles["prompt"] and unlabelled["id"] == battles["id"]


def test_lmsys_test_csv_is_json_lists_without_a_winner(tmp_path: Path, load: Callable[..., datasets.Dataset]) -> None:
    kept = ("id", "prompt", "response_a", "response_b")
    write_csv([{k: kaggle(*t, n)[k] for k in kept} for n, t in enumerate(TURNS)], tmp_path / "test.csv")
    battles = load(tmp_path / "test.csv")
    assert battles["prompt"] == [prompt for prompt, *_ in TURNS]
    assert battles["verdict"] == [None] * 3 and battles["model_a"] == [None] * 3


@pytest.mark.parametrize("ids", [["4294967297", "9007199254740993", "00042"], ["", "", ""]])
def test_ids_stay_the_text_they_were(ids: list[str], tmp_path: Path, load: Callable[..., datasets.Dataset]) -> None:
    write_csv([kaggle(*t, 0) | {"id": i} for t, i in zip(TURNS, ids, strict=True)], tmp_path / "train.csv")
    found = load(tmp_path / "train.csv")["id"]
    assert list(found) == ids if ids[0] else len(set(found)) == 3


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_integer_ids_beyond_a_double_are_exact(
    ending: str, tmp_path: Path, load: Callable[..., datasets.Dataset]
) -> None:
    rows = [kaggle(*t, 2**53 + 1 + n) for n, t in enumerate(TURNS)]
    WRITERS[ending](rows, tmp_path / f"train{ending}")
    assert load(tmp_path / f"train{ending}")["id"] == ["9007199254740993", "9007199254740994", "9007199254740995"]


@pytest.mark.parametrize(
    "winner, verdict",
    [
        ("model_a", [1, 0, 0]),
        ("model_b", [0, 1, 0]),
        ("tie", [0, 0, 1]),
        ("tie (bothbad)", [0, 0, 1]),
        ("both_bad", [0, 0, 1]),
        (" Model_A ", [1, 0, 0]),
    ],
)
def test_every_name_a_release_gives_a_winner(
    winner: str, verdict: list[float], tmp_path: Path, load: Callable[..., datasets.Dataset]
) -> None:
    write_jsonl([hub(*TURNS[0], 0) | {"winner": winner}], tmp_path / "r.jsonl")
    battles = load(tmp_path / "r.jsonl", labels="required")
    assert battles["verdict"] == [verdict] and battles["language"] == ["English"] and battles["id"] == ["q0"]


def test_system_turns_images_and_runs_of_answers(tmp_path: Path, load: Callable[..., datasets.Dataset]) -> None:
    picture = {"type": "image", "text": None, "image": "f00.png", "mimeType": "image/png"}
    text = {"type": "text", "text": "What is this?", "image": None, "mimeType": None}

    def side(*answers: str) -> list[Row]:
        system = {"role": "system", "content": [text | {"text": "Be brief."}]}
        replies = [{"role": "assistant", "content": [text | {"text": answer}]} for answer in answers]
        return [system, {"role": "user", "content": [text, picture]}, *replies]

    row = {"id": "1", "conversation_a": side("A cat."), "conversation_b": side("A", "dog."), "winner": "both_bad"}
    for ending, write in WRITERS.items():
        write([row], tmp_path / f"m{ending}")
        (battle,) = load(tmp_path / f"m{ending}")
        assert battle["prompt"] == ["Be brief.\n\nWhat is this?\n[image]"]
        assert (battle["response_a"], battle["response_b"]) == (["A cat."], ["A\n\ndog."])
        assert battle["verdict"] == [0, 0, 1]


@every_container
def test_votes_and_teachers_are_distributions(
    ending: str, tmp_path: Path, load: Callable[..., datasets.Dataset]
) -> None:
    rows = [
        {"winner": "model_b", "votes": {"model_a": 1, "model_b": 2, "tie": 1}, "teacher": [0.2, 0.5, 0.3]},
        {"winner": "model_a", "votes": None, "teacher": None},
        {"winner": None, "votes": None, "teacher": [0.1, 0.2, 0.7]},
    ]
    rows = [turn_lists(*t, n) | row for n, (t, row) in enumerate(zip(TURNS, rows, strict=True))]
    WRITERS[ending](rows, tmp_path / f"v{ending}")
    battles = load(tmp_path / f"v{ending}", labels="required")
    teacher = pytest.approx([0.1, 0.2, 0.7])
    assert battles["verdict"] == [[0.25, 0.5, 0.25], [1, 0, 0], teacher]
    assert battles["teacher"] == [pytest.approx([0.2, 0.5, 0.3]), None, teacher]


@every_container
def test_teacher_columns_and_teacher_by_name(
    ending: str, tmp_path: Path, load: Callable[..., datasets.Dataset]
) -> None:
    by_name = {"teacher": {"model_a": 0.5, "model_b": 0.25, "tie": 0.25}}
    columns = {"teacher_model_a": 0.5, "teacher_model_b": 0.25, "teacher_tie": 0.25}
    for extra in (by_name, columns):
        WRITERS[ending]([turn_lists(*TURNS[0], 0) | extra], tmp_path / f"t{ending}")
        (battle,) = load(tmp_path / f"t{ending}")
        assert battle["teacher"] == [0.5, 0.25, 0.25] and battle["verdict"] == [1, 0, 0]


# -- TRL preference data --------------------------------------------------------------------------------------------

DECIDED = [*SINGLE[:2], ("Why?", "Because.", "No reason", "model_a"), ("Hi", "Hi there", "Hi, you", "model_b")]


def preference(shape: str, prompt: str, won: str, lost: str) -> Row:
    asked = [{"role": "user", "content": prompt}]

    def reply(text: str) -> list[Row]:
        return [{"role": "assistant", "content": text}]

    return {
        "explicit plain": {"prompt": prompt, "chosen": won, "rejected": lost},
        "implicit plain": {"chosen": f"{prompt} {won}", "rejected": f"{prompt} {lost}"},
        "explicit messages": {"prompt": asked, "chosen": reply(won), "rejected": reply(lost)},
        "plain prompt, messages": {"prompt": prompt, "chosen": reply(won), "rejected": reply(lost)},
        "repeated messages": {"prompt": prompt, "chosen": asked + reply(won), "rejected": asked + reply(lost)},
        "implicit messages": {"chosen": asked + reply(won), "rejected": asked + reply(lost)},
        "dialogue": {
            "chosen": f"\n\nHuman: {prompt}\n\nAssistant: {won}",
            "rejected": f"\n\nHuman: {prompt}\n\nAssistant: {lost}",
        },
        "dialogue with prompt": {
            "prompt": f"\n\nHuman: {prompt}\n\nAssistant: ",
            "chosen": f"\n\nHuman: {prompt}\n\nAssistant: {won}",
            "rejected": f"\n\nHuman: {prompt}\n\nAssistant: {lost}",
        },
    }[shape]


PREFERENCES = (
    "explicit plain",
    "implicit plain",
    "explicit messages",
    "plain prompt, messages",
    "repeated messages",
    "implicit messages",
    "dialogue",
    "dialogue with prompt",
)


@every_container
@pytest.mark.parametrize("shape", PREFERENCES)
def test_preferences_are_the_decided_battles_up_to_the_side(
    shape: str, ending: str, tmp_path: Path, load: Callable[..., datasets.Dataset]
) -> None:
    # The last battle's answers begin alike, which an implicit plain prompt cannot tell from a longer prompt.
    decided = DECIDED[:3] if shape == "implicit plain" else DECIDED
    ordered = [(p, a, b) if winner == "model_a" else (p, b, a) for p, a, b, winner in decided]
    WRITERS[ending]([preference(shape, *texts) for texts in ordered], tmp_path / f"p{ending}")
    battles = load(tmp_path / f"p{ending}", labels="required")
    assert len(battles) == len(decided)
    for battle, (prompt, won, lost) in zip(battles, ordered, strict=True):
        sides = [battle["response_a"], battle["response_b"]]
        chosen = battle["verdict"].index(1)
        assert sorted(battle["verdict"]) == [0, 0, 1] and chosen < 2
        assert battle["prompt"] == [prompt]
        assert [[text.strip() for text in side] for side in (sides[chosen], sides[1 - chosen])] == [[won], [lost]]
    reference = tmp_path / "reference.jsonl"
    write_jsonl([{"prompt": p, "response_a": a, "response_b": b, "winner": w} for p, a, b, w in decided], reference)
    assert battles["group"] == load(reference)["group"]


def test_a_dialogue_of_several_turns_keeps_them(tmp_path: Path, load: Callable[..., datasets.Dataset]) -> None:
    start = "\n\nHuman: One\n\nAssistant: Two\n\nHuman: Three\n\nAssistant:"
    write_jsonl([{"chosen": f"{start} Four", "rejected": f"{start} Five"}], tmp_path / "hh.jsonl")
    (battle,) = load(tmp_path / "hh.jsonl")
    assert battle["prompt"] == ["One", "Three"]
    assert sorted([battle["response_a"], battle["response_b"]]) == [["Two", "Five"], ["Two", "Four"]]


def test_sides_are_a_hash_of_the_content(tmp_path: Path, load: Callable[..., datasets.Dataset]) -> None:
    rows = [{"prompt": f"Question {n}", "chosen": f"Good {n}", "rejected": f"Bad {n}"} for n in range(400)]
    models = {"chosen_model": "strong", "rejected_model": "weak"}
    write_jsonl([row | models for row in rows], tmp_path / "a.jsonl")
    write_jsonl([row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in rows], tmp_path / "b.jsonl")
    straight, exchanged = load(tmp_path / "a.jsonl"), load(tmp_path / "b.jsonl")
    for column in ("prompt", "response_a", "response_b"):
        assert straight[column] == exchanged[column]
    assert all(v == [w[1], w[0], w[2]] for v, w in zip(straight["verdict"], exchanged["verdict"], strict=True))
    won_by_a = [v[0] == 1 for v in straight["verdict"]]
    assert 150 < sum(won_by_a) < 250  # Five standard deviations.
    assert [m == "strong" for m in straight["model_a"]] == won_by_a
    assert {*straight["model_a"]} == {*straight["model_b"]} == {"strong", "weak"}


def test_pandas_written_parquet_reads_alike(tmp_path: Path, load: Callable[..., datasets.Dataset]) -> None:
    frame = pd.DataFrame([turn_lists(*t, n) for n, t in enumerate(TURNS)])
    frame["language"] = ["English", None, None]
    frame.to_parquet(tmp_path / "f.parquet")
    battles = load(tmp_path / "f.parquet", labels="required")
    assert battles["response_a"] == [a for _, a, *_ in TURNS] and battles["language"] == ["English", None, None]


# -- real files -----------------------------------------------------------------------------------------------------

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "data"
COUNTS = {
    "arena/train.csv": 964,
    "arena/test.csv": 3,
    "arena/extra.jsonl": 475,
    "arena/no_ties.jsonl": 3249,
    "other/tulu_human_eval.jsonl": 1150,
    "other/autoj.jsonl": 1392,
    "other/pandalm.jsonl": 999,
    "other/llmbar.jsonl": 1000,
}
TIES = {"other/tulu_human_eval.jsonl": 376, "other/autoj.jsonl": 373, "other/llmbar.jsonl": 0}


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize("name", COUNTS)
def test_real_files_have_the_rows_their_readme_names(name: str, load: Callable[..., datasets.Dataset]) -> None:
    labelled = name != "arena/test.csv"
    battles = load(REAL / name, labels="required" if labelled else "optional")
    assert len(battles) == COUNTS[name] and len(set(battles["id"])) == len(battles)
    if name in TIES:
        assert sum(v[2] == 1 for v in battles["verdict"]) == TIES[name]
    assert not {"unparsed_json", "invalid_utf8"} & {odd for odds in battles["oddities"] for odd in odds}


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data")
def test_real_predictions_are_told_to_hold_no_text(load: Callable[..., datasets.Dataset]) -> None:
    with pytest.raises(InputError, match=r"arena_heldout\.csv.*missing column"):
        load(REAL / "predictions" / "arena_heldout.csv")
