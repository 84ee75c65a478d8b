"""Experiments: the file is checked, runs go on where they were, answers follow the rule, a section replaces itself only."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arena_data.errors import InputError
from arena_data.file_io import fingerprint
from arena_data.submission import COLUMNS
from benchmarks.leaderboard.results import Predictions
from experiments import learning_curve, running
from experiments.__main__ import FILE, main
from experiments.page import BETTER, UNDECIDED, WORSE, verdict_of, write_section
from experiments.questions import Arm, read_file
from experiments.running import Bench

CONFIGURATION = """
seeds: [0, 1]
questions:
  lengths:
    question: do lengths tell?
    hypothesis: they do
    baseline: prior
    arms:
      prior: {kind: prior}
      tree: {kind: length_tree}
  costly:
    question: trained?
    hypothesis: "yes"
    baseline: ours
    budget: {model_name_or_path: m, max_length: 64, num_train_epochs: 1, learning_rate: 0.1, batch_tokens: 9, bf16: false}
    arms:
      ours: {flags: [--style, "true"]}
learning_curve:
  battles: [60]
  seeds: [0]
  arms:
    buckets: {kind: length_buckets}
    tree: {kind: length_tree}
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like ../shared/data, of 300 made-up battles in which the longer answer tends to win."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "arena").mkdir()
    draw = np.random.default_rng(0)
    rows: list[list[Any]] = []
    for number in range(300):
        lengths = draw.integers(3, 60, size=2)
        won = int(draw.choice(3, p=[0.1, 0.7, 0.2] if lengths[1] > lengths[0] else [0.7, 0.1, 0.2]))
        texts = [[f"question {number}"], *(["word " * int(length)] for length in lengths)]
        rows.append([*map(json.dumps, texts), *np.eye(3, dtype=int)[won].tolist()])
    with open(folder / "arena" / "train.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "prompt", "response_a", "response_b", *COLUMNS])
        writer.writerows([number, *row] for number, row in enumerate(rows[:299]))
    texts = dict(zip(("prompt", "response_a", "response_b"), map(json.loads, rows[299][:3]), strict=True))
    (folder / "arena" / "extra.jsonl").write_text(json.dumps(texts | {"winner": "tie"}))
    return folder


@pytest.fixture
def flags(data_dir: Path, tmp_path: Path) -> list[str]:
    file, runs, page = tmp_path / "q.yaml", tmp_path / "runs", tmp_path / "P.md"
    file.write_text(CONFIGURATION)
    given = {"file": file, "data_dir": data_dir, "output_dir": runs, "page": page}
    return [text for name, value in given.items() for text in (f"--{name}", str(value))]


def test_an_answer_is_a_section_and_what_is_done_is_not_run_again(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(flags) == 0
    text = (tmp_path / "P.md").read_text()
    rows = {cells[1].strip(): cells for line in text.splitlines() if len(cells := line.split("|")) > 5}
    assert f" {BETTER} " in rows["tree"][4]
    assert float(rows["tree"][3].split("(")[0]) < -0.1
    assert "better: tree" in text
    assert "2 deals of the folds" in text
    assert "trained?" not in text, "costly questions are asked by name"
    assert len(list((tmp_path / "runs").glob("*/*of5.npz"))) == 2 * 2 * 5

    monkeypatch.setattr(running, "run_baseline", lambda *_: pytest.fail("all folds are done"))
    assert main(flags) == 0
    assert (tmp_path / "P.md").read_text() == text


def test_a_run_that_was_stopped_goes_on_with_the_folds_that_are_missing(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(flags) == 0
    gone = sorted((tmp_path / "runs").glob("*/3of5.npz"))[:2]
    for file in gone:
        file.unlink()
    made = []
    plain = running.run_baseline
    monkeypatch.setattr(running, "run_baseline", lambda *given: made.append(given) or plain(*given))
    assert main(flags) == 0
    assert len(made) == 2
    assert all(file.exists() for file in gone)


def test_a_result_is_known_by_all_that_it_depends_on(data_dir: Path, tmp_path: Path) -> None:
    bench = Bench(data_dir, tmp_path)
    arm = Arm("a", "length_tree", {}, (), (), {})
    made = [arm.made_by(seed, data, battles) for seed in (0, 1) for data in "xy" for battles in (None, 9)]
    made.append(Arm("a", "prior", {}, (), (), {}).made_by(0, "x", None))
    assert len({fingerprint(**one) for one in made}) == len(made)
    assert fingerprint(**arm.made_by(0, "x", None)) == fingerprint(
        **Arm("b", "length_tree", {}, (), (), {}).made_by(0, "x", None)
    )
    bench.run([arm], [1])
    (folder,) = tmp_path.iterdir()
    assert Predictions.read(folder / "0of5.npz").about["seed"] == 1


def test_our_own_model_gets_the_same_folds_and_the_arms_flags_last(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.leaderboard import ours as leaderboard_ours

    (tmp_path / "q.yaml").write_text(CONFIGURATION)
    arm = read_file(tmp_path / "q.yaml")[0]["costly"].arms["ours"]
    seen: list[list[str]] = []

    def run(system: Any, options: Any, parts: Any, fold: int) -> Predictions:
        seen.append(leaderboard_ours.flags_of(system, options, fold, "D"))
        part = parts["validation"]
        log_probs = np.log(np.full((len(part), 3), 1 / 3))
        verdicts = np.asarray(list(part["verdict"]))
        return Predictions(log_probs, log_probs, verdicts, np.asarray(list(part["group"])), np.asarray(part["place"]))

    monkeypatch.setattr(leaderboard_ours, "run_our_fold", run)
    Bench(data_dir, tmp_path).run([arm], [3])
    assert len(seen) == 5
    for flag, value in (("--fold", "2"), ("--split_seed", "3"), ("--max_length", "64")):
        assert seen[2][seen[2].index(flag) + 1] == value
    assert seen[2][-2:] == ["--style", "true"]


def test_the_rule() -> None:
    assert [verdict_of(-2, -1), verdict_of(1, 2), verdict_of(-1, 1)] == [BETTER, WORSE, UNDECIDED]


def test_a_section_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "P.md"
    for name, text in (("one", "first"), ("two", r"a \1 b"), ("one", "second")):
        write_section(page, name, text)
    text = page.read_text()
    assert "first" not in text
    assert text.index("second") < text.index(r"a \1 b")
    assert text.startswith("# Experiments")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("baseline: prior", "baseline: forest", "none of its arms"),
        ("{kind: length_tree}", "{kind: oracle}", "oracle"),
        ("{kind: length_tree}", "{kind: length_tree, options: {depth: 3}}", "depth"),
        ("hypothesis: they do", "hopes: many", "hopes"),
        ("bf16: false", "fp8: true", "budget"),
        ("seeds: [0, 1]", "seeds: [0, 1", "is broken"),
    ],
)
def test_a_broken_file_is_one_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(CONFIGURATION.replace(old, new, 1))
    with pytest.raises(InputError, match=said) as caught:
        read_file(tmp_path / "q.yaml")
    assert "\n" not in str(caught.value)


def test_an_unknown_question_and_missing_data_are_one_line(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, said in ((["--questions", "why"], "why"), (["--data_dir", str(tmp_path / "absent")], "train.csv")):
        assert main([*flags, *more]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ")
        assert said in error


def test_the_file_that_is_shipped_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    questions, curve = read_file(FILE)
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in questions)
    assert curve.arms


@pytest.mark.scale
def test_the_learning_curve_falls_and_is_drawn(flags: list[str], tmp_path: Path) -> None:
    assert learning_curve.main(flags) == 0
    text = (tmp_path / "P.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| tree ")]
    found = [float(cell.split("(")[0]) for cell in line.split("|")[2:4]]
    assert found[1] < found[0]
    assert "| blend of these |" in text
    assert (tmp_path / "images" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
