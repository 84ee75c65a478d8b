"""Flags of `--engine ray`: what a stream over many machines cannot honour is refused in one line, before Ray starts."""

import sys
from pathlib import Path

import pytest

from reward_model.cli import predict
from reward_model.errors import MissingExtraError

BASE = ["--model", "arena-style", "--input", "battles.csv", "--output", "out"]


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert predict.main([*BASE, *flags]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    "flags",
    [
        ("--num_processes", "2"),
        ("--time_limit", "8h"),
        ("--device_map", "balanced"),
        ("--device", "cuda:1"),
        ("--swap_average", "0.5"),
        ("--report", "page.html"),
        ("--json",),
        ("--audit_battles", "10"),
        ("--peers",),
        ("--coverage_labels", "labelled.csv"),
    ],
)
def test_what_ray_cannot_honour_is_refused(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert flags[0] in refused(capsys, "--engine", "ray", *flags)


@pytest.mark.parametrize("flag", ["--ray_address", "--actors", "--num_cpus", "--num_gpus", "--partition_rows"])
def test_what_only_ray_can_honour_is_refused_without_it(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{flag}: of use with --engine ray only" in refused(capsys, flag, "2")


def test_a_file_as_output_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "writes a folder" in refused(capsys, "--engine", "ray", "--output", "submission.csv")


def test_a_launcher_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert "a launcher cannot be honoured" in refused(capsys, "--engine", "ray")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'--engine ray needs ray, .* pip install "arena-reward-model\[ray\]"'):
        predict.main([*BASE, "--engine", "ray"])


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    (tmp_path / "a.csv").write_text("id,prompt,response_a,response_b\n1,a,b,c\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").touch()
    line = refused(capsys, "--engine", "ray", "--input", str(tmp_path / "a.csv"), "--output", str(tmp_path / "out"))
    assert "the output folder holds something else" in line and "thesis.txt" in line
