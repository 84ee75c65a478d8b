"""What a run that is killed at its end leaves: never new weights under old settings."""

from pathlib import Path
from typing import Any

import pytest

from arena_data.errors import InputError
from reward_model.cli import train as train_reward
from reward_model.cli.train import repository
from reward_model.run_directory.reading import is_complete, read_run
from reward_model.train.settings.config import TieRewardConfig
from reward_model.train.trainer import TieRewardTrainer
from tests.end_to_end.test_train_reward import FLAGS, SAMPLE
from tests.helpers.tiny_models import write_backbone


class KilledError(Exception):
    pass


def test_killed_between_two_files_of_a_run_that_is_trained_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = write_backbone(tmp_path / "backbone", hidden_size=16, intermediate_size=24)
    run = tmp_path / "run"
    command = ["--model_name_or_path", str(backbone), "--train_file", str(SAMPLE), "--output_dir", str(run), *FLAGS]
    command += ["--num_train_epochs", "1", "--hub_token", "hf_secret"]
    assert train_reward.main(command) == 0 and is_complete(run)
    # The token lies nowhere, and neither does a pickle of the Trainer's arguments.
    files = [file for file in run.rglob("*") if file.is_file()]
    assert any(file.parent.name.startswith("checkpoint-") for file in files)
    assert not [file for file in files if file.name == "training_args.bin" or b"hf_secret" in file.read_bytes()]
    for checkpoint in run.glob("checkpoint-*"):
        checkpoint.rename(tmp_path / checkpoint.name)

    plain_save = TieRewardTrainer.save_model

    def saves_and_is_killed(self: Any, output_dir: str | None = None, _internal_call: bool = False) -> None:
        plain_save(self, output_dir, _internal_call)
        if not _internal_call:
            raise KilledError

    monkeypatch.setattr(TieRewardTrainer, "save_model", saves_and_is_killed)
    # Another run over this one is refused; the same one trains again, since its checkpoints are gone.
    assert train_reward.main([*command, "--seed", "5"]) == 2
    with pytest.raises(KilledError):
        train_reward.main(command)
    assert (run / "style_head.safetensors").exists()
    with pytest.raises(InputError, match=r"reward_config\.json: missing"):
        read_run(run)


def test_the_token_leaves_the_settings(tmp_path: Path) -> None:
    config = TieRewardConfig(
        output_dir=str(tmp_path), hub_token="hf_secret", push_to_hub=True, hub_model_id="a/b", use_cpu=True
    )
    assert repository(config) == ("a/b", "hf_secret")
    assert config.hub_token is None and not config.push_to_hub
