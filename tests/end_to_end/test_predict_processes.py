"""predict.py in several processes, killed, stopped, or told to end: the same file in the end, and nobody waits for ever."""

import json
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from reward_model.cli import predict
from reward_model.predict.scorer import Scorer
from reward_model.predict.shard_loop import SHARD_SEQUENCES
from reward_model.predict.shard_store import work_folder
from tests.helpers.commands import SAMPLE, command, environment, flags, rows_of, write_csv
from tests.helpers.run_directories import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", model_type="adapter")


def shards_of(output: Path) -> int:
    return len(list(work_folder(output).rglob("*.safetensors")))


def wait_until_shards(process: "subprocess.Popen[str]", output: Path, shards: int) -> None:
    deadline = time.monotonic() + 300
    while shards_of(output) < shards:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command(*arguments), env=environment(), stderr=subprocess.PIPE, text=True)


def helpers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


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
    process = start(flags(run, many, output))
    wait_until_shards(process, output, 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    kept = shards_of(output)
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
    monkeypatch.setenv("LOCAL_RANK", "0")
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


def test_a_stopped_process_is_not_waited_for(run: Path, many: Path, tmp_path: Path, uninterrupted: bytes) -> None:
    output = tmp_path / "submission.csv"
    process = start(flags(run, many, output, "--num_processes", "2"))
    deadline = time.monotonic() + 300
    while not (helpers := helpers_of(process)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    [helper] = helpers
    helper.send_signal(signal.SIGSTOP)
    _, said = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert output.read_bytes() == uninterrupted
    assert not helper.is_running()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.scale)]
)
def test_a_signal_ends_all_processes_at_once_and_keeps_the_shards(
    number: signal.Signals, status: int, run: Path, many: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    output = tmp_path / "submission.csv"
    process = start(flags(run, many, output, "--num_processes", "2"))
    wait_until_shards(process, output, 1)
    helpers = helpers_of(process)
    assert helpers
    process.send_signal(number)
    sent = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - sent < 2
    assert process.returncode == status
    lines = said.splitlines()
    assert lines[-1].startswith(f"stopped by {number.name}; the same command goes on")
    assert lines[:-1] == ["600 battles", "36 battles: both responses are the same text; the margin is 0"]
    assert not any(helper.is_running() and helper.status() != psutil.STATUS_ZOMBIE for helper in helpers)
    assert not output.exists() and shards_of(output) > 0
    scored: list[int] = []
    score = Scorer.score
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scorer, "score", lambda self, rows: scored.append(len(rows)) or score(self, rows))
        kept = shards_of(output)
        assert predict.main(flags(run, many, output)) == 0
    assert output.read_bytes() == uninterrupted
    sequences = {(row["prompt"], row[side]) for row in rows_of(many) for side in ("response_a", "response_b")}
    assert len(scored) == -(-len(sequences) // SHARD_SEQUENCES) - kept


def test_ranks_in_the_environment_without_a_launcher_change_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    output = tmp_path / "submission.csv"
    assert predict.main(flags(run, SAMPLE, output)) == 0
    assert len(rows_of(output)) == 300
