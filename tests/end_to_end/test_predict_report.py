"""predict.py --report as an evaluator runs it: a page and figures of labelled battles, refused early otherwise."""

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from arena_data.loading import load_battles
from arena_data.schema import FEATURES
from arena_data.submission import COLUMNS, read_submission, write_submission
from reward_model.baselines.peers import cross_fitted
from reward_model.cli import predict
from reward_model.predict.scorer import Scorer
from tests.helpers.run_directories import make_run

SAMPLE = Path(__file__).parents[2] / "arena_data" / "sample.csv"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", model_type="adapter")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's first 40 battles."""
    file = tmp_path_factory.mktemp("battles") / "labelled.csv"
    with open(SAMPLE, encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))[:41]
    with open(file, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return file


def flags(models: list[Path], battles: Path, output: Path, *more: str) -> list[str]:
    names = ["--model", *map(str, models), "--input", str(battles), "--output", str(output)]
    return [*names, "--dtype", "float32", "--device", "cpu", "--quiet", *more]


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    output = capsys.readouterr()
    lines = output.err.strip().splitlines()
    assert output.out == "" and len(lines) == 1 and lines[0].startswith("error: "), output
    return lines[0]


def test_page_and_figures_of_a_run(
    run: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = tmp_path / "peer.csv"
    battles = load_battles(labelled)
    write_submission(peer, battles["id"][:], np.tile([0.25, 0.25, 0.5], (40, 1)))
    scored: list[int] = []
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, rows: scored.append(len(rows)) or score(self, rows))
    output, page = tmp_path / "submission.csv", tmp_path / "report.html"
    more = ["--report", str(page), "--json", "--audit_battles", "6", "--peers", str(peer)]
    assert predict.main(flags([run], labelled, output, *more)) == 0
    figures = json.loads(capsys.readouterr().out)

    # The figures are those of the submission, against the verdicts of the file.
    _, probabilities = read_submission(output)
    with open(labelled, encoding="utf-8", newline="") as stream:
        verdicts = np.array([[float(row[name]) for name in COLUMNS] for row in csv.DictReader(stream)])
    own = -(verdicts * np.log(probabilities)).sum(axis=1).mean()
    assert figures["quality"]["metrics"]["log_loss"]["value"] == pytest.approx(own, abs=1e-6)
    theirs = -(verdicts @ np.log([0.25, 0.25, 0.5])).mean()
    assert figures["quality"]["peers"]["peer.csv"]["gain"]["value"] == pytest.approx(theirs - own, abs=1e-6)

    # A separate encoding is swap-exact, with the style head open and closed; what style adds goes when it is closed.
    audits = figures["audit"], figures["audit_style_off"]
    for audit in audits:
        assert audit["position"]["swapped"]["first"]["value"] == pytest.approx(0, abs=1e-6)
        assert all(row["battles"] <= 6 for row in audit["verbosity"]["changed"])
    changed = [{row["name"]: row["win_share"]["value"] for row in audit["formatting"]["changed"]} for audit in audits]
    assert changed[0] != changed[1]
    # Closing it reads no text a second time.
    distinct = 2 * (40 + 6 * (1 + 13))
    assert 40 < sum(scored) <= distinct

    text = page.read_text()
    assert "peer.csv" in text and "style head closed" in text and text.count("<script") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["peer.csv", "report.html", "submission.csv"]


def test_several_models_and_files(
    run: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    write_submission(other, load_battles(labelled)["id"][:], np.tile([0.3, 0.3, 0.4], (40, 1)))
    arguments = flags([run, other], labelled, tmp_path / "s.csv", "--json", "--peers")
    assert predict.main(arguments) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["audit"] is None and figures["quality"]["peers"] == {}  # a file can say nothing of changed battles
    assert "other.csv" in figures["facts"]["model"] and "weights 0.50, 0.50" in figures["facts"]["pooling"]


def test_what_cannot_be_reported_is_refused_before_a_model_is_loaded(
    run: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("reward_model.run_directory.load_model.load_run_model", refuse)
    unlabelled = tmp_path / "test.csv"
    with open(unlabelled, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("id", "prompt", "response_a", "response_b"), ("1", '["p"]', '["a"]', '["b"]')])
    output = tmp_path / "submission.csv"
    assert predict.main(flags([run], unlabelled, output, "--report", str(tmp_path / "r.html"))) == 2
    assert "no battle has a verdict" in error_of(capsys)
    for page in (tmp_path, tmp_path / "absent" / "r.html", labelled, output):
        before = page.read_bytes() if page.is_file() else None
        assert predict.main(flags([run], labelled, output, "--report", str(page))) == 2
        assert f"{page}: cannot be written" in error_of(capsys)
        assert before == (page.read_bytes() if page.is_file() else None)
    assert not output.exists()


def test_unlabelled_battles_are_left_out_and_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": str(row), "prompt": [f"p {row}"], "response_a": ["a"], "response_b": ["b b"], "winner": winner}
        for row, winner in enumerate(["model_a", "tie", None, "model_b"])
    ]
    file = tmp_path / "some.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert predict.main(flags([run], file, tmp_path / "s.csv", "--json", "--audit_battles", "0", "--peers")) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["battles"] == 3 and figures["audit"] is None
    assert figures["facts"]["without a verdict, left out"] == "1 battles"


def battles_with(first: list[float]) -> datasets.Dataset:
    random = np.random.default_rng(0)
    verdicts = np.eye(3)[random.integers(3, size=60)].tolist()
    rows: dict[str, Any] = {name: [None] * 60 for name in FEATURES} | {
        "id": [str(row) for row in range(60)],
        "prompt": [[str(row)] for row in range(60)],
        "response_a": [["x" * length] for length in random.integers(1, 99, 60).tolist()],
        "response_b": [["x" * length] for length in random.integers(1, 99, 60).tolist()],
        "verdict": [first, *verdicts[1:]],
        "group": [str(row) for row in range(60)],
        "oddities": [[]] * 60,
    }
    return datasets.Dataset.from_dict(rows, features=FEATURES)


def test_peers_have_not_seen_the_verdicts_they_are_judged_by() -> None:
    kinds = {"prior": "prior", "length": "length_buckets"}
    found = [cross_fitted(battles_with(first), kinds) for first in ([0.6, 0.0, 0.4], [1.0, 0.0, 0.0])]
    for name in kinds:
        np.testing.assert_array_equal(found[0][name][0], found[1][name][0])
        assert (found[0][name] != found[1][name]).any()
        np.testing.assert_allclose(np.exp(found[0][name]).sum(axis=1), 1)
    assert cross_fitted(battles_with([1.0, 0.0, 0.0]).select([0]), kinds) == {}


def few(folder: Path, count: int, words: bool) -> Path:
    """Labelled battles of different prompts: the sample's first, or texts of marks alone."""
    file = folder / "few.csv"
    with open(SAMPLE, encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))[: count + 1]
    places = [rows[0].index(name) for name in ("prompt", "response_a", "response_b")]
    for number, row in enumerate(rows[1:] if not words else ()):
        for place, mark in zip(places, "?.!", strict=True):
            row[place] = json.dumps([mark * (number + 1)])
    with open(file, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return file


@pytest.mark.parametrize(("count", "words"), [(2, True), (5, True), (10, True), (10, False)])
def test_a_few_battles_have_a_report_without_what_cannot_be_fitted(
    count: int, words: bool, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    more = ["--report", str(page), "--json", "--audit_battles", "2"]
    assert predict.main(flags([run], few(tmp_path, count, words), tmp_path / "s.csv", *more)) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["battles"] == count
    assert "lexical" not in figures["quality"]["peers"]
    assert "lexical" in figures["facts"]["too few battles to fit"]
    assert "too few battles to fit: " in page.read_text()


def test_page_and_figures_say_how_many_rows_have_the_prior(
    run: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Scorer.score

    def failing(self: Scorer, rows: Any) -> Any:
        values = score(self, rows)
        values[0] = np.nan
        return values

    monkeypatch.setattr(Scorer, "score", failing)
    output, page = tmp_path / "submission.csv", tmp_path / "report.html"
    more = ["--report", str(page), "--json", "--audit_battles", "0", "--peers"]
    assert predict.main(flags([run], labelled, output, *more)) == 3
    shown = capsys.readouterr()
    failed = json.loads(shown.out)["have_prior"]
    assert failed > 0
    assert f"submission.csv: 40 rows, {failed} of them with the prior, in" in shown.err
    assert f"could not be scored, have the prior: {failed} battles" in page.read_text()


def test_a_report_that_fails_leaves_the_submission_and_says_so(
    run: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page cannot be written in the end: its folder is gone."""
    output, page = tmp_path / "submission.csv", tmp_path / "pages" / "report.html"
    page.parent.mkdir()
    arguments = flags([run], labelled, output, "--report", str(page), "--audit_battles", "0", "--peers")
    with pytest.MonkeyPatch.context() as patch:
        write = predict.write
        patch.setattr(predict, "write", lambda *all_of_it: (write(*all_of_it), page.parent.rmdir()))
        assert predict.main(arguments) == 3
    failures = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    [line] = failures
    assert "the report failed" in line and f"{output} is written and whole" in line
    assert len(read_submission(output)[0]) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["submission.csv"]
