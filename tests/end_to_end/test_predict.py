"""predict.py as a person runs it: complete submissions, offline, from hostile input."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reward_model.cli import predict
from reward_model.predict.scorer import Scorer
from tests.helpers.commands import ROOT, SAMPLE, command, environment, flags, rows_of, write_csv
from tests.helpers.run_directories import make_run

COMPETITION = ROOT.parent / "shared" / "data" / "arena" / "test.csv"
COLUMNS = ["id", "winner_model_a", "winner_model_b", "winner_tie"]
NO_SOCKETS = """
import socket, sys
def refuse(*a, **k):
    raise AssertionError("a socket was opened")
class Refused(socket.socket):
    __init__ = refuse
socket.socket, socket.create_connection, socket.getaddrinfo = Refused, refuse, refuse
from reward_model.__main__ import main
sys.exit(main(["predict", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", model_type="adapter")


def test_a_submission_is_complete_and_in_order(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "submission.csv"
    assert predict.main(flags(run, SAMPLE, output)) == 0
    found, battles = rows_of(output), rows_of(SAMPLE)
    assert list(found[0]) == COLUMNS
    assert [row["id"] for row in found] == [row["id"] for row in battles]
    values = np.array([[float(row[name]) for name in COLUMNS[1:]] for row in found])
    assert np.abs(values.sum(axis=1) - 1).max() < 1e-6
    verdicts = np.array([[float(row[name]) for name in COLUMNS[1:]] for row in battles])
    log_loss = -(verdicts * np.log(values)).sum(axis=1).mean()
    said = capsys.readouterr().err
    assert f"300 labelled battles: log loss {log_loss:.4f}" in said
    assert "accuracy" in said and "Brier score" in said and "calibration error" in said
    assert [path.name for path in tmp_path.iterdir()] == ["submission.csv"]


def test_rewards_explain_the_probabilities(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "submission.csv"
    assert predict.main(flags(run, SAMPLE, output, "--rewards")) == 0
    for row in rows_of(output)[:50]:
        a, b, margin, tie = (float(row[name]) for name in ("reward_a", "reward_b", "margin", "tie_strength"))
        assert margin == pytest.approx(a - b, abs=1e-4)
        weights = np.exp([margin / 2, -margin / 2, tie])
        found = [float(row[name]) for name in COLUMNS[1:]]
        np.testing.assert_allclose(found, weights / weights.sum(), atol=1e-4)
    both = flags(run, SAMPLE, output, "--rewards")
    both.insert(2, str(run))
    assert predict.main(both) == 2


def test_offline_opens_no_socket(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "submission.csv"
    arguments = flags(run, SAMPLE, output, "--offline")
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS, *arguments], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(rows_of(output)) == 300
    settings = json.loads((run / "reward_config.json").read_text()) | {"base_model": "someone/backbone"}
    lost = tmp_path / "lost"
    lost.mkdir()
    for path in run.iterdir():
        (lost / path.name).write_bytes(path.read_bytes())
    (lost / "reward_config.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS, *flags(lost, SAMPLE, output, "--offline")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "someone/backbone" in done.stderr and "--base_model" in done.stderr


# -- hostile input ------------------------------------------------------------------------------------------------


def say_no(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    """The last thing that was said is one line of error with these parts."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert all(part in lines[-1] for part in parts), lines[-1]


ODD = {
    "a megabyte": ["Why?", "word " * 200_000, "x" * 1_000_000],
    "only emoji": ["🙂" * 50, "🙃🙃", "👩‍👩‍👧"],
    "lone surrogates": ['["\\ud83d why"]', '["\\udc00"]', '["fine"]'],
    "300 turns": [json.dumps(["Go on."] * 300), json.dumps(["Yes."] * 300), json.dumps(["No."] * 299)],
    "nothing": ["", "", ""],
    "not JSON": ["[broken", '["unclosed', "plain"],
    "nulls": ["[null]", "[null]", "null"],
}


def test_odd_battles_are_all_answered(run: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "odd.csv", [[str(place), *texts] for place, texts in enumerate(ODD.values())])
    output = tmp_path / "submission.csv"
    assert predict.main(flags(run, file, output)) == 0
    assert [row["id"] for row in rows_of(output)] == [str(place) for place in range(len(ODD))]
    for row in rows_of(output):
        assert sum(float(row[name]) for name in COLUMNS[1:]) == pytest.approx(1, abs=1e-6)


def test_one_row_and_no_row(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "submission.csv"
    for rows in ([["7", "Hi", "Hello", "Bye"]], []):
        assert predict.main(flags(run, write_csv(tmp_path / "few.csv", rows), output)) == 0
        assert len(rows_of(output)) == len(rows)
        assert output.read_text().splitlines()[0] == ",".join(COLUMNS)


def test_bad_input_is_one_line_and_no_file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out" / "submission.csv"
    output.parent.mkdir()
    row = ["1", "Hi", "Hello", "Bye"]
    twice = write_csv(tmp_path / "twice.csv", [row, row])
    lacking = write_csv(tmp_path / "lacking.csv", [row[:3]], ("id", "prompt", "response_a"))
    for file, parts in (
        (twice, ("twice.csv", "row 2", "'id'")),
        (lacking, ("lacking.csv", "response_b")),
        (tmp_path, ("is a directory",)),
        (tmp_path / "nothing.csv", ("no such file",)),
    ):
        assert predict.main(flags(run, file, output)) == 2
        say_no(capsys, *parts)
    assert not list(output.parent.iterdir())


def test_an_output_that_cannot_be_written_is_said_at_once(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorer, "__init__", lambda *_: pytest.fail("a model was loaded"))
    for output, part in (
        (tmp_path, "is a directory"),
        (tmp_path / "no" / "such.csv", "No such file"),
        (Path("/proc/x"), ""),
    ):
        assert predict.main(flags(run, SAMPLE, output)) == 2
        say_no(capsys, str(output), "cannot be written", part)


def test_the_input_is_never_overwritten(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_csv(tmp_path / "battles.csv", [["1", "Hi", "Hello", "Bye"]])
    before = file.read_bytes()
    assert predict.main(flags(run, file, file)) == 2
    say_no(capsys, "battles.csv", "it would overwrite what is read")
    assert file.read_bytes() == before


def test_neither_inputs_by_pattern_nor_a_models_files_are_overwritten(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_csv(tmp_path / "battles.csv", [["1", "Hi", "Hello", "Bye"]])
    (tmp_path / "link.csv").symlink_to(file)
    weights = run / "adapter_model.safetensors"
    backbone = run.with_name("run-backbone")
    before = [path.read_bytes() for path in (file, weights)]
    for output in (file, tmp_path / "link.csv", weights, run / "tokenizer.json", backbone / "config.json"):
        arguments = flags(run, tmp_path / "battle*.csv", output, "--base_model", str(backbone))
        assert predict.main(arguments) == 2
        say_no(capsys, output.name, "it would overwrite what is read")
        page = flags(run, file, tmp_path / "s.csv", "--base_model", str(backbone), "--report", str(output))
        assert predict.main(page) == 2
        say_no(capsys, output.name, "it would overwrite what is read")
    assert [path.read_bytes() for path in (file, weights)] == before
    assert predict.main(flags(run, file, run / "submission.csv")) == 0  # beside the weights is allowed
    assert predict.main(flags(run, file, run / "submission.csv")) == 0
    (run / "submission.csv").unlink()


def test_a_full_disk_is_one_line_and_no_file(run: Path, tmp_path: Path) -> None:
    """In a name space of its own, on a file system of 16 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=16k tmpfs {folder}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no name spaces here")
    predicting = " ".join(command(*flags(run, SAMPLE, folder / "submission.csv")))
    script = f"{mount} && {predicting}; echo status $?; ls -A {folder}"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], env=environment(), capture_output=True, text=True)
    assert "status 2" in done.stdout
    assert "No space left on device" in done.stderr.strip().splitlines()[-1]
    assert "submission.csv" not in done.stdout.replace(".submission.csv.shards", "")


def test_rows_that_cannot_be_scored_end_in_status_3(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Scorer.score

    def failing(self: Scorer, rows: Any) -> Any:
        self.first_error = "no luck"
        values = score(self, rows)
        values[np.argmax([len(row) for row in rows])] = np.nan
        return values

    monkeypatch.setattr(Scorer, "score", failing)
    output = tmp_path / "submission.csv"
    assert predict.main(flags(run, SAMPLE, output)) == 3
    said = capsys.readouterr().err
    [failed] = re.findall(r"(\d+) rows could not be scored and have the prior \(no luck\)", said)
    assert f"submission.csv: 300 rows, {failed} of them with the prior, in" in said and "complete" not in said
    assert len(rows_of(output)) == 300


@pytest.mark.skipif(not COMPETITION.exists(), reason="the competition's file is not here")
def test_the_competitions_example(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "submission.csv"
    assert predict.main(flags(run, COMPETITION, output)) == 0
    assert [row["id"] for row in rows_of(output)] == [row["id"] for row in rows_of(COMPETITION)]
    assert list(rows_of(output)[0]) == COLUMNS and len(rows_of(output)) == 3
