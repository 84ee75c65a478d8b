"""Files in the schema of each benchmark are told apart by their columns and read as their items; others are refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arena_data.errors import InputError
from reward_model.bench.files import read_items
from reward_model.bench.items import BENCHMARKS
from reward_model.bench.rewards import pair_battles

ASK = [
    {"role": "user", "content": "Hi?"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "And?"},
]
ROWS: dict[str, list[dict[str, Any]]] = {
    "rm_bench": [
        {
            "id": 8,
            "domain": "safety-refuse",
            "prompt": "Q",
            "chosen": ["c", "cc", "*c*"],
            "rejected": ["r", "rr", "*r*"],
        }
    ],
    "rewardbench": [
        {"id": 1, "prompt": "Q", "chosen": "good", "rejected": "bad", "subset": "hep-go", "chosen_model": "m"},
        {
            "id": 1,
            "prompt": ASK,
            "chosen": "good",
            "rejected": "bad",
            "subset": "anthropic_helpful",
            "chosen_model": None,
        },
    ],
    "rewardbench2": [
        {"id": "5", "prompt": "Q", "chosen": ["a"], "rejected": ["b", "c", "d"], "num_correct": 1, "subset": "Math"},
        {"id": "tied:3", "prompt": "Q", "chosen": ["a", "b"], "rejected": ["c"], "num_correct": 2, "subset": "Ties"},
    ],
    "judgebench": [
        {
            "pair_id": "p",
            "source": "livecodebench",
            "question": "Q",
            "response_model": "gpt",
            "response_A": "a",
            "response_B": "b",
            "label": "B>A",
        }
    ],
    "ppe": [
        {
            "question_id": "q",
            "model_a": "m",
            "model_b": "n",
            "winner": winner,
            "prompt": "Q",
            "response_1": "a",
            "response_2": "b",
        }
        for winner in ("model_b", "tie (bothbad)")
    ],
    "llmbar": [{"input": "Q", "output_1": "a", "output_2": "b", "label": 2}],
}


def written(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows))
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_each_schema_is_told_by_its_columns(benchmark: str, name: str, tmp_path: Path) -> None:
    path = written(tmp_path, ROWS[benchmark], name)
    recognised, items = read_items([path])
    assert recognised == benchmark and len(items) == len(ROWS[benchmark])
    assert len({item.id for item in items}) == len(items)
    battles = pair_battles(items)
    assert len(battles) == sum(len(item.pairs) for item in items) == len(set(battles["id"]))
    assert read_items([path], benchmark)[0] == benchmark
    other = next(name for name in BENCHMARKS if name != benchmark)
    with pytest.raises(InputError, match=f"no file of {other}"):
        read_items([path], other)


def test_parquet_of_lists_as_the_hub_has_it(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS["rewardbench2"]), tmp_path / "test.parquet")
    recognised, (math, tied) = read_items([str(tmp_path / "test.parquet")])
    assert recognised == "rewardbench2"
    assert math.pairs == ((0, 1), (0, 2), (0, 3)) and math.better == 0
    # Of a Ties item every response is compared with the first, right ones too.
    assert tied.pairs == ((0, 1), (0, 2)) and tied.right == 2 and tied.facts == {"kind": "tied", "prompt_id": "3"}


def test_the_better_side_and_what_is_asked(tmp_path: Path) -> None:
    _, [judge] = read_items([written(tmp_path, ROWS["judgebench"])])
    assert (judge.id, judge.better, judge.responses, judge.prompt) == ("p", 1, [["a"], ["b"]], ["Q"])
    _, [won, tie] = read_items([written(tmp_path, ROWS["ppe"])])
    assert won.better == 1 and tie.better is None and won.facts == {"model_a": "m", "model_b": "n"}
    _, [plain, talk] = read_items([written(tmp_path, ROWS["rewardbench"])])
    assert plain.prompt == ["Q"] and plain.responses == [["good"], ["bad"]]
    assert talk.prompt == ["Hi?", "And?"] and talk.responses == [["Hello.", "good"], ["Hello.", "bad"]]


def test_the_subset_is_in_the_path_or_the_file_s_name(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS["llmbar"], "LLMBar/Adversarial/Neighbor/dataset.json")
    assert read_items([path])[1][0].subset == "Adversarial_Neighbor"
    row = {name: value for name, value in ROWS["rm_bench"][0].items() if name != "domain"}
    for name, domain in (("chat_filtered.json", "chat"), ("rm_bench_safety-response.json", "safety-response")):
        assert read_items([written(tmp_path, [row], name)])[1][0].subset == domain
    with pytest.raises(InputError, match=r"row 1.*says the domain"):
        read_items([written(tmp_path, [row], "mine.json")])


def test_bad_rows_are_said_in_one_line(tmp_path: Path) -> None:
    broken = [
        ("judgebench", {"label": "C>D"}, r"row 1: cannot be read as judgebench: the label is 'C>D'"),
        ("rewardbench2", {"num_correct": 2}, "num_correct is 2"),
        ("rm_bench", {"prompt": None}, "a text is None"),
    ]
    for benchmark, change, match in broken:
        with pytest.raises(InputError, match=match) as error:
            read_items([written(tmp_path, [ROWS[benchmark][0] | change])])
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="a benchmark that is known"):
        read_items(["arena_data/sample.csv"])
    with pytest.raises(InputError, match="no file of rm_bench"):
        read_items([written(tmp_path, ROWS[name], f"{name}.jsonl") for name in ("rm_bench", "llmbar")])
