"""A judge on a benchmark, through the command: the same numbers as its own rewards give, and one line for what is wrong."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from reward_model.__main__ import main
from reward_model.api import RewardModel
from reward_model.bench.bench import bench, every_nth, table_lines
from reward_model.bench.files import read_items
from reward_model.bench.rewards import item_margins
from reward_model.predict.member import Job, MemberPrediction
from tests.reward_model.bench.test_files import ROWS, written

REAL = Path(__file__).parents[4] / "shared" / "data"


class Longer:
    """Likes the longer response, and being shown first by so many characters."""

    name, first_error = "longer", None

    def __init__(self, first: int = 0):
        self.first, self.swap_exact, self.asked = first, not first, 0

    def predict(self, job: Job) -> MemberPrediction:
        self.asked += len(job.battles)
        lengths = [
            np.array([sum(map(len, turns)) for turns in job.battles[f"response_{side}"]], float) for side in "ab"
        ]
        margin = lengths[0] - lengths[1] + self.first
        return MemberPrediction.whole(np.stack([margin, np.zeros_like(margin), np.full_like(margin, -9)], axis=1))

    def work(self, job: Job) -> None: ...


def test_a_judge_that_favours_a_side_is_asked_about_both_orders(tmp_path: Path) -> None:
    _, items = read_items([written(tmp_path, ROWS["judgebench"])])
    [exact] = item_margins(Longer(), items)
    assert exact.tolist() == [[0.0]]
    judge = Longer(first=3)
    [both] = item_margins(judge, items)
    # Shown first, A is better by 3; shown second, worse by 3. The rule averages it away: right neither way.
    assert both.tolist() == [[3.0, -3.0]] and judge.asked == 2
    assert bench(judge, "judgebench", items, resamples=10)["figures"]["gpt"]["accuracy"]["value"] == 0


def test_a_run_gives_the_rewards_of_its_api_open_and_closed(runs: dict[str, Path], tmp_path: Path) -> None:
    rows = ROWS["rm_bench"] + [
        {
            "id": 9,
            "domain": "chat",
            "prompt": "Sing.",
            "chosen": ["La.", "La la.", "# La"],
            "rejected": ["No.", "*No*", "- No"],
        }
    ]
    figures = tmp_path / "figures.json"
    flags = ["--file", written(tmp_path, rows), "--output", str(figures), "--resamples", "20", "--dtype", "float32"]
    assert main(["bench", str(runs["llama"]), *flags, "--device", "cpu"]) == 0
    report = json.loads(figures.read_text())
    model = RewardModel.from_pretrained(runs["llama"], dtype="float32", device="cpu")
    for row, domain in zip(rows, ("safety", "chat"), strict=True):
        rewards = model.reward([row["prompt"]] * 6, [*row["chosen"], *row["rejected"]])
        won = rewards[:3, None] > rewards[None, 3:]
        for level, cells in (("hard", np.triu(won, 1)), ("easy", np.tril(won, -1))):
            assert report["style_off"][domain][level]["value"] == pytest.approx(cells.sum() / 3)
    assert report["figures"].keys() == report["style_off"].keys() and report["not_scored"] == 0


def test_verdicts_of_an_api_judge_by_pair_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [ROWS["judgebench"][0] | {"pair_id": name, "label": "A>B"} for name in ("p", "q", "r", "s")]
    # Both orders right; one right, one a tie; one each; both wrong.
    verdicts = "id,verdict,verdict_swapped\np,A>>B,[[B>A]]\nq,A>B,A=B\nr,A>B,A>B\ns,B,A\n"
    (tmp_path / "judge.csv").write_text(verdicts)
    assert (
        main(["bench", str(tmp_path / "judge.csv"), "--file", written(tmp_path, rows), "--json", "--resamples", "0"])
        == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert report["figures"]["gpt"]["accuracy"] == {"value": 0.5, "low": None, "high": None}
    short = written(tmp_path, [*rows, rows[0] | {"pair_id": "t"}], "more.jsonl")
    assert main(["bench", str(tmp_path / "judge.csv"), "--file", short]) == 2
    assert "1 of 5 ids are missing" in capsys.readouterr().err


def test_the_table_and_the_sample(tmp_path: Path) -> None:
    _, items = read_items([written(tmp_path, ROWS["rewardbench"] * 10)])
    assert len(every_nth(items, 7)) == 7 and every_nth(items, None) == items
    lines = table_lines(bench(Longer(), "rewardbench", items, resamples=20))
    assert lines[-1].startswith("all") and "100.0 (100.0 to 100.0)" in lines[-1] and "20 items" in lines[0]


@pytest.mark.skipif(not REAL.is_dir(), reason="the benchmarks' own files are not here")
def test_the_real_files_are_read_whole() -> None:
    files: Any = {"rm_bench": "benchmarks/rm_bench_*.json", "judgebench": "benchmarks/judgebench_*.jsonl"}
    counts = {"rm_bench": 129 + 228 + 284 + 157, "judgebench": 350 + 270, "llmbar": 1000}
    for benchmark, pattern in {**files, "llmbar": "other/llmbar.jsonl"}.items():
        recognised, items = read_items([str(REAL / pattern)])
        assert recognised == benchmark and len(items) == counts[benchmark]
    assert {item.subset for item in read_items([str(REAL / files["rm_bench"])])[1]} >= {"chat", "code", "safety-refuse"}
    # What stock code makes of them is text, whole and in order.
    _, items = read_items([str(REAL / "benchmarks/rm_bench_chat.json")])
    raw = datasets.load_dataset("json", data_files=str(REAL / "benchmarks/rm_bench_chat.json"), split="train")[0]
    assert [turns[0] for turns in items[0].responses] == [*raw["chosen"], *raw["rejected"]]
