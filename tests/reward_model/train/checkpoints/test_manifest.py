"""A checkpoint is whole by its manifest."""

import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from arena_data.errors import InputError
from reward_model.train.checkpoints.manifest import MANIFEST, one_line_if_unwritten, read_manifest, write_manifest


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As DeepSpeed leaves it: files of several ranks, in a folder of their own."""
    folder = tmp_path / "checkpoint-3"
    (folder / "global_step3").mkdir(parents=True)
    for name in ("optimizer.pt", "rng_state_0.pth", "global_step3/rank_0.pt", "global_step3/rank_1.pt"):
        (folder / name).write_text(f"content of {name}")
    write_manifest(folder, {"trainer": {"seed": 1}})
    return folder


def test_a_whole_checkpoint_says_what_run_it_is_of(checkpoint: Path) -> None:
    assert read_manifest(checkpoint) == {"trainer": {"seed": 1}}
    listed = json.loads((checkpoint / MANIFEST).read_text())["files"]
    assert set(listed) == {"optimizer.pt", "rng_state_0.pth", "global_step3/rank_0.pt", "global_step3/rank_1.pt"}


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state_0.pth", "global_step3/rank_1.pt"])
def test_a_file_that_is_missing_or_not_as_written_is_named(checkpoint: Path, name: str) -> None:
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).unlink()
    with pytest.raises(InputError, match=f"{name}: is missing"):
        read_manifest(checkpoint)
    for damaged in (content[:-1], content.upper(), b""):
        (checkpoint / name).write_bytes(damaged)
        with pytest.raises(InputError, match=f"{name}: is damaged"):
            read_manifest(checkpoint)
    (checkpoint / name).write_bytes(content)
    read_manifest(checkpoint)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"settings": {}, "files": {"a": {}}}', '{"settings": 1, "files": {}}']
)
def test_a_manifest_that_is_none_is_one_line(checkpoint: Path, text: str) -> None:
    (checkpoint / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=MANIFEST):
        read_manifest(checkpoint)
    (checkpoint / MANIFEST).unlink()
    with pytest.raises(InputError, match="an earlier version"):
        read_manifest(checkpoint)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 64 KB, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, old)


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("saved_by", ["safetensors", "torch", "plain"])
def test_a_disk_that_fills_is_one_line_and_leaves_no_half_checkpoint(saved_by: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    large = torch.zeros(1 << 16)
    save = {
        "safetensors": lambda: save_file({"a": large}, folder / "a.safetensors"),
        "torch": lambda: torch.save(large, folder / "a.pt"),
        "plain": lambda: (folder / "a").write_bytes(bytes(1 << 18)),
    }[saved_by]
    message = "checkpoint-1: cannot be written"
    with pytest.raises(InputError, match=message) as refusal, one_line_if_unwritten(folder, remove=True):
        save()
    assert "free the disk" in str(refusal.value)
    assert not folder.exists()


def test_an_error_that_is_not_of_writing_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"), one_line_if_unwritten(tmp_path):
        raise RuntimeError("out of memory")
