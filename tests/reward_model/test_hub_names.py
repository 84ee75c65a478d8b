"""A folder that is not there is said at once; a name that may be the Hub's is asked of it."""

import os
from pathlib import Path

import pytest

from reward_model import hub_names
from reward_model.__main__ import main
from reward_model.errors import ModelError
from reward_model.hub_names import check_model_there, means_folder


@pytest.mark.parametrize("name", ["google/gemma-2-9b-it", "bert-base-uncased", "user/runs", "modelscope/x"])
def test_a_name_of_the_hub_passes(name: str) -> None:
    assert not means_folder(name)
    check_model_there(name)


@pytest.mark.parametrize("name", ["runs/demo", "./demo", "../demo", "/demo", "~/demo", "a/b/c", "models/mine"])
def test_a_folder_that_is_not_there_is_no_name_of_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=f"{name}: no such directory$"):
        check_model_there(name)


def test_weights_that_a_command_writes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="models/minilm: no such directory; arena-reward weights minilm writes it"):
        check_model_there("models/minilm")
    os.makedirs("models/minilm")
    check_model_there("models/minilm")


TEXTS = "--prompt p --a a --b b"


@pytest.mark.parametrize(
    "command",
    [
        f"compare --model runs/absent {TEXTS}",
        "predict --model runs/absent --input {sample} --output s.csv",
        "audit runs/absent --input {sample}",
        "bench runs/absent --file {sample}",
        "calibrate runs/absent --input {sample} --output D",
        "export runs/absent",
        "push runs/absent --repo user/name",
        "demo runs/absent",
        "serve runs/absent",
        "kaggle runs/absent --user me",
        "train --model_name_or_path runs/absent --train_file {sample} --output_dir D --use_cpu true",
    ],
)
def test_every_command_says_so_before_it_asks_the_hub(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = Path(hub_names.__file__).parents[1] / "arena_data" / "sample.csv"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", _refused)
    monkeypatch.setattr("socket.getaddrinfo", _refused)
    assert main(command.format(sample=sample).split()) == 2
    assert "runs/absent" in capsys.readouterr().err


def _refused(*_: object) -> None:
    raise AssertionError("a network was asked")
