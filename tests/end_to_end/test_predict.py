"""predict.py as a person runs it: complete submissions, offline, in two processes, after a kill, from hostile input."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reward_model.cli import predict
from reward_model.predict.scorer import Scorer
from reward_model.predict.shard_loop import SHARD_SEQUENCES
from reward_model.predict.shard_store import work_folder
from tests.helpers.run_directories import make_run

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "arena_data" / "sample.csv"
COMPETITION = ROOT.parent / "shared" / "data" / "arena" / "test.csv"
COLUMNS = ["id", "winner_model_a", "winner_model_b", "winner_tie"]
NO_SOCKETS = """
import socket, sys
def refuse(*a, **k):
    raise AssertionError("a socket was opened")
class Refused(socket.socket):
    __init__ = refuse
socket.socket, socket.create_connection, socket.getaddrinfo = Refused, refuse, refuse
import predict
sys.exit(predict.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", model_type="adapter")


def flags(run: Path, input_file: Path, output: Path, *more: str) -> list[str]:
    names = ["--model", str(run), "--input", str(input_file), "--output", str(output)]
    return [*names, "--dtype", "float32", "--device", "cpu", "--quiet", *more]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "predict.py"), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_csv(file: Path, rows: list[list[str]], columns: Any = ("id", "prompt", "response_a", "response_b")) -> Path:
    with open(file, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return file


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


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough battles for many shards, no two alike."""
    rows = rows_of(SAMPLE)
    texts = [[row["prompt"], row["response_a"], row["response_b"]] for row in rows]
    return write_csv(
        tmp_path_factory.mktemp("many") / "many.csv",
        [
            [f"{copy}-{row}", *(json.dumps([f"{copy} {turn}" for turn in json.loads(text)]) for text in battle)]
            for copy in range(2)
            for row, battle in enumerate(texts)
        ],
    )


@pytest.fixture(scope="module")
def uninterrupted(run: Path, many: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("whole") / "submission.csv"
    assert predict.main(flags(run, many, output)) == 0
    return output.read_bytes()


def test_a_killed_run_goes_on_to_the_same_file(run: Path, many: Path, tmp_path: Path, uninterrupted: bytes) -> None:
    output = tmp_path / "submission.csv"
    process = subprocess.Popen(command(*flags(run, many, output)), env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(work_folder(output).rglob("*.safetensors"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    kept = len(list(work_folder(output).rglob("*.safetensors")))
    scored: list[int] = []
    score = Scorer.score
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scorer, "score", lambda self, rows: scored.append(len(rows)) or score(self, rows))
        assert predict.main(flags(run, many, output)) == 0
    assert output.read_bytes() == uninterrupted
    sequences = {(row["prompt"], row[side]) for row in rows_of(many) for side in ("response_a", "response_b")}
    assert len(sequences) - kept * SHARD_SEQUENCES <= sum(scored) < len(sequences)
    assert len(scored) + kept == -(-len(sequences) // SHARD_SEQUENCES)
    assert not work_folder(output).exists()


def test_two_processes_write_the_same_file(run: Path, many: Path, tmp_path: Path, uninterrupted: bytes) -> None:
    output = tmp_path / "submission.csv"
    done = subprocess.run(
        command(*flags(run, many, output, "--num_processes", "2")), env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert output.read_bytes() == uninterrupted


def test_under_a_launcher_the_first_process_joins_what_the_others_wrote(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `accelerate launch` starts them; here one after the other, the main one last."""
    alone, output = tmp_path / "alone.csv", tmp_path / "submission.csv"
    monkeypatch.setattr("reward_model.predict.shard_loop.SHARD_SEQUENCES", 100)
    assert predict.main(flags(run, SAMPLE, alone)) == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    scored: list[int] = []
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, rows: scored.append(len(rows)) or score(self, rows))
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        assert not output.exists()
        assert predict.main(flags(run, SAMPLE, output)) == 0
    assert output.read_bytes() == alone.read_bytes()
    rows = rows_of(SAMPLE)
    assert sum(scored) == len({(row["prompt"], row[side]) for row in rows for side in ("response_a", "response_b")})


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
    assert "rows could not be scored and have the prior (no luck)" in capsys.readouterr().err
    assert len(rows_of(output)) == 300


@pytest.mark.skipif(not COMPETITION.exists(), reason="the competition's file is not here")
def test_the_competitions_example(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "submission.csv"
    assert predict.main(flags(run, COMPETITION, output)) == 0
    assert [row["id"] for row in rows_of(output)] == [row["id"] for row in rows_of(COMPETITION)]
    assert list(rows_of(output)[0]) == COLUMNS and len(rows_of(output)) == 3
