"""Predictions through Ray Data: those of predict.py, each battle once, whatever is killed on the way.

One local cluster serves all tests of the file.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet
import pytest

from arena_data.errors import InputError
from arena_data.submission import COLUMNS, read_submission
from reward_model.cli import predict
from reward_model.predict.cluster.ray_cluster import Shares, ray_cluster, room
from tests.helpers.made_battles import by_length, write_battles
from tests.helpers.run_directories import make_run

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
FILES, BATTLES = 3, 22


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Any]:
    with ray_cluster(None, Shares(actors=2, num_cpus=0.5)) as ray:
        yield ray


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, files of battles, and what predict.py says of them."""
    folder = tmp_path_factory.mktemp("ray")
    make_run(folder / "run", kind="bert", max_length=100)
    (folder / "battles").mkdir()
    for seed in range(FILES):
        write_battles(folder / "battles" / f"{seed}.jsonl", by_length(BATTLES, seed))
    assert run(folder, folder / "plain.csv", "--input", f"{folder}/battles/*") == 0
    return folder


def run(folder: Path, output: Any, *more: str) -> int:
    return predict.main(["--model", str(folder / "run"), "--output", str(output), "--quiet", "--device", "cpu", *more])


def run_ray(folder: Path, output: Any, battles: Any, *more: str) -> int:
    flags = ["--engine", "ray", "--actors", "2", "--num_cpus", "0.5", "--input", str(battles)]
    return run(folder, output, *flags, *more)


def scorers() -> list[psutil.Process]:
    """The processes of actors that hold models."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "PartitionScorer" in " ".join(child.cmdline())]


def test_a_killed_actor_is_replaced_and_each_battle_is_there_once_as_predict_says_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, killed = folder / "scored", list[int]()

    def kill_one_on_the_way() -> None:
        while not killed:
            time.sleep(0.01)
            if len(list(output.glob("parts/*/*.parquet"))) >= 2:
                actor = scorers()[0]
                actor.kill()
                killed.append(actor.pid)

    watcher = threading.Thread(target=kill_one_on_the_way, daemon=True)
    watcher.start()
    # From one store to another, as workers of other machines would.
    status = run_ray(folder, f"local://{output}", f"local://{folder}/battles", "--partition_rows", "1")
    assert status == 0 and killed
    assert f"{FILES * BATTLES} rows in" in capsys.readouterr().err
    ids, probabilities = read_submission(folder / "plain.csv")
    table = pyarrow.parquet.read_table(output / "parts")
    assert Counter(table.column("id").to_pylist()) == Counter(ids)
    rows = {row["id"]: [row[name] for name in COLUMNS] for row in table.to_pylist()}
    assert np.abs(np.array([rows[name] for name in ids]) - probabilities).max() < 1e-6
    index = json.loads((output / "index.json").read_text())
    assert index["rows"] == len(index["partitions"]) == FILES * BATTLES
    assert {part["name"] for part in index["partitions"]} == {
        str(file.relative_to(output)) for file in output.glob("parts/*/*")
    }


def test_a_bad_row_is_the_line_of_predict_with_its_file_and_row(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (folder / "battles/1.jsonl").read_text().splitlines()
    (tmp_path / "battles").mkdir()
    bad = tmp_path / "battles" / "bad.jsonl"
    bad.write_text("\n".join([*lines[:17], "[1, 2]", *lines[18:]]))
    assert run(folder, tmp_path / "plain.csv", "--input", str(bad)) == 2
    plain = capsys.readouterr().err
    assert run_ray(folder, tmp_path / "out", tmp_path / "battles") == 2
    assert capsys.readouterr().err == plain and f"{bad}, row 18" in plain
    assert not (tmp_path / "out/index.json").exists()


def test_the_local_cluster_listens_on_loopback_only_and_has_no_dashboard() -> None:
    children = psutil.Process().children(recursive=True)
    listening = {
        connection.laddr.ip
        for child in children
        for connection in child.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening and listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    # Ray 2.60 starts this process always; it serves no page with the second flag.
    pages = [child.cmdline() for child in children if "dashboard/dashboard.py" in " ".join(child.cmdline())]
    assert all("--disable-frontend" in command for command in pages)


def test_no_usage_statistics_are_sent(cluster: Any) -> None:
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()


def test_actors_and_readers_fit_into_the_cluster(cluster: Any) -> None:
    assert room(cluster, Shares(num_cpus=0.5)) == (2, 0.0, 1)  # two CPUs are there: one for a reader
    assert room(cluster, Shares(actors=9)) == (9, 0.0, 3)
    with pytest.raises(InputError, match="the cluster has no room"):
        room(cluster, Shares(num_cpus=8))
    with pytest.raises(InputError, match="found '2 CPUs and 0 GPUs'"):
        room(cluster, Shares(num_gpus=1))
