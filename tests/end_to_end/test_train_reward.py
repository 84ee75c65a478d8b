"""train_reward.py as a person runs it, on a tiny random model: a whole run directory, and bad input."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import AutoPeftModelForSequenceClassification
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForSequenceClassification, BertConfig

from arena_data.loading import load_battles
from arena_data.submission import read_submission
from reward_model.cli import train as train_reward
from reward_model.cli.flags import PredictionFlags, open_predictor
from reward_model.run_directory.reading import is_complete, read_run
from reward_model.train.checkpoints.resuming import SETTINGS
from reward_model.train.trainer import TieRewardTrainer
from tests.helpers.tiny_models import write_backbone

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "arena_data" / "sample.csv"
FLAGS = [
    "--max_train_battles",
    "60",
    "--max_length",
    "200",
    "--batch_tokens",
    "1000",
    "--num_train_epochs",
    "2",
    "--learning_rate",
    "1e-3",
    "--use_cpu",
    "true",
    "--validation_share",
    "0.2",
    "--calibration_share",
    "0.2",
    "--disable_tqdm",
    "true",
    "--logging_steps",
    "2",
]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of a tiny Llama that reads bytes."""
    return write_backbone(tmp_path_factory.mktemp("backbone"), hidden_size=16, intermediate_size=24)


def flags(backbone: Path, output: Path, *more: str) -> list[str]:
    return [
        "--model_name_or_path",
        str(backbone),
        "--train_file",
        str(SAMPLE),
        "--output_dir",
        str(output),
        *FLAGS,
        *more,
    ]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(
        next(output / name for name in ("adapter_model.safetensors", "model.safetensors") if (output / name).exists())
    )


@pytest.fixture(scope="module")
def run(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA run that nothing interrupted."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    lora = ("--use_peft", "--lora_r", "4", "--report_to", "tensorboard")
    assert train_reward.main(flags(backbone, output, *lora)) == 0
    return output


def test_the_run_directory_is_whole_and_holds_no_pickle(run: Path) -> None:
    assert is_complete(run)
    kept = {path.name for path in run.iterdir() if path.is_file()}
    assert {"calibration.json", "metrics.json", "README.md", "curves.png", "style_head.safetensors"} <= kept
    assert not [name for name in kept if name.endswith((".bin", ".pt", ".pkl"))]
    metrics = read_run(run).metrics
    assert 0 < metrics["log_loss"] < 1.5
    assert metrics["class_prior_log_loss"] > 1


def test_tensorboard_gets_training_and_evaluation(run: Path) -> None:
    [events] = run.rglob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events.parent))
    accumulator.Reload()
    tags = set(accumulator.Tags()["scalars"])
    wanted = {
        "log_loss",
        "accuracy",
        "tie_rate_predicted",
        "tie_rate_seen",
        "margin",
        "padding_share",
        "tokens_per_second",
    }
    assert {f"train/{name}" for name in wanted} <= tags
    assert "eval/log_loss" in tags


def test_a_stranger_loads_the_adapter_with_plain_peft(run: Path) -> None:
    stranger = AutoPeftModelForSequenceClassification.from_pretrained(str(run), num_labels=1)
    name = "base_model.model.score.weight"
    found = dict(stranger.named_parameters())["base_model.model.score.modules_to_save.default.weight"]
    torch.testing.assert_close(found.detach(), weights(run)[name])


def test_the_same_command_again_changes_nothing(run: Path, backbone: Path) -> None:
    before = weights(run)
    lora = ("--use_peft", "--lora_r", "4", "--report_to", "tensorboard")
    assert train_reward.main(flags(backbone, run, *lora)) == 0
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())


def test_another_runs_checkpoints_are_refused(run: Path, backbone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = weights(run)
    more = ("--use_peft", "--lora_r", "8", "--learning_rate", "2e-3")
    assert train_reward.main(flags(backbone, run, *more)) == 2
    assert "differs in lora_r, learning_rate; remove it" in capsys.readouterr().err
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())


def test_a_checkpoint_that_was_being_written_is_passed_over(run: Path, backbone: Path) -> None:
    half = run / "checkpoint-999"
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global_step": 99')
    before = weights(run)
    lora = ("--use_peft", "--lora_r", "4", "--report_to", "tensorboard")
    assert train_reward.main(flags(backbone, run, *lora)) == 0
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_last_checkpoint(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = TieRewardTrainer.rewards

    def overflowing(self: Any, model: Any, batch: Any) -> torch.Tensor:
        found = real(self, model, batch)
        return found * float("inf") if self.state.global_step >= 4 and model.training else found

    monkeypatch.setattr(TieRewardTrainer, "rewards", overflowing)
    steps = ("--save_strategy", "steps", "--save_steps", "2", "--eval_strategy", "steps", "--eval_steps", "2")
    assert train_reward.main(flags(backbone, tmp_path, *steps)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the loss is not finite at step 4 on training battles [")
    assert (tmp_path / "checkpoint-4" / "trainer_state.json").exists()
    assert (tmp_path / SETTINGS).exists()
    assert not (tmp_path / "reward_config.json").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model_name_or_path", "no/such/model"), "no/such/model: no such directory"),
        (("--train_file", "nothing.csv"), "nothing.csv: no such file"),
        (("--train_file", "{no_winner}"), "no_winner.csv: "),
        (("--train_file", "{unknown}"), "unknown.jsonl, row 2, column 'winner'"),
        (("--use_peft", "--lora_target_modules", "query"), "match nothing; linear layers here: down_proj"),
        (("--max_length", "5"), "it must be at least"),
        (("--batch_tokens", "100"), "batch_tokens is 100"),
        (
            ("--per_device_train_batch_size", "4"),
            "per_device_train_batch_size is not used; batches are filled by tokens",
        ),
        (("--max_steps", "0"), "max_steps is 0"),
        (("--validation_share", "-0.1"), "validation_share is -0.1"),
        (("--metric_for_best_model", "f1"), "metric_for_best_model is f1"),
        (("--report_to", "neptune"), "neptune: it is not installed"),
        (("--output_dir", "/proc/nowhere"), "/proc/nowhere: cannot be written"),
        (("--teacher_weight", "0.5"), "no battle has a teacher's probabilities"),
        (("--trust_remote_code", "true"), "trust_remote_code is not used"),
        (("--num_folds", "3", "--fold", "3"), "fold is 3; expected 0 to 2"),
        (("--tie_link", "thurstone"), "thurstone"),
        (("--dtype", "float99"), "invalid choice: 'float99'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    more: tuple[str, ...], message: str, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no_winner.csv").write_text("id,prompt,response_a,response_b\n1,p,a,b\n")
    (tmp_path / "unknown.jsonl").write_text(
        "".join(
            f'{{"prompt": ["p"], "response_a": ["a"], "response_b": ["b"], "winner": "{w}"}}\n' for w in ("tie", "x")
        )
    )
    filled = [part.format(no_winner=tmp_path / "no_winner.csv", unknown=tmp_path / "unknown.jsonl") for part in more]
    try:
        status = train_reward.main(flags(backbone, tmp_path / "run", *filled))
    except SystemExit as exit:  # argparse's own
        status = int(str(exit.code))
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 2
    assert message in error
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_without_a_model_nothing_is_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_reward.main(["--train_file", str(SAMPLE), "--output_dir", str(tmp_path), *FLAGS]) == 2
    assert (
        capsys.readouterr().err
        == "error: model_name_or_path is not given; name a model directory or a Hub id, or a run with init_from\n"
    )


def test_a_disk_that_fills_in_a_checkpoint_is_one_line(backbone: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train_reward.py"), *flags(backbone, tmp_path, "--max_steps", "2")]
    limited = ["bash", "-c", 'ulimit -f 24; exec "$@"', "bash", *command]  # in blocks of 1,024 bytes
    environment = {**os.environ, "HF_DATASETS_IN_MEMORY_MAX_SIZE": "0"}
    done = subprocess.run(limited, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be written: " in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_head_that_does_not_fit_is_one_line(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((backbone / name).read_text())
    config: Any = BertConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    assert train_reward.main(flags(tmp_path, tmp_path / "run")) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert str(tmp_path) in line


def test_bf16_on_a_cpu_without_it_is_refused(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert train_reward.main(flags(backbone, tmp_path, "--bf16", "true")) == 2
    assert "this CPU has no bf16; use --bf16 false" in capsys.readouterr().err


@pytest.fixture(scope="module")
def folds(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("folds") / "run"
    more = ("--folds", "2", "--num_train_epochs", "1", "--max_train_battles", "50")
    assert train_reward.main(flags(backbone, output, *more)) == 0
    return output


def test_every_battle_is_predicted_by_the_fold_that_has_not_seen_it(folds: Path) -> None:
    parts = [read_submission(folds / f"fold_{fold}" / "held_out.csv") for fold in range(2)]
    assert not set(parts[0][0]) & set(parts[1][0])
    ids, joined = read_submission(folds / "out_of_fold.csv")
    assert sorted(ids) == sorted(parts[0][0] + parts[1][0])
    where = {name: row for part_ids, rows in parts for name, row in zip(part_ids, rows, strict=True)}
    assert np.allclose(joined, [where[name] for name in ids], atol=1e-8)
    battles = load_battles(str(SAMPLE)).filter(lambda row: row["id"] in where)
    predictor = open_predictor(PredictionFlags(model=[str(folds / "fold_0")], calibration="none", dtype="float32"))
    ours = battles.filter(lambda row: row["id"] in set(parts[0][0]))
    found = np.exp(predictor.predict(ours))
    assert np.allclose(found, [where[name] for name in ours["id"]], atol=1e-4)


def test_the_folds_mean_is_a_run_of_its_own(folds: Path) -> None:
    assert is_complete(folds)
    mean, parts = weights(folds), [weights(folds / f"fold_{fold}") for fold in range(2)]
    assert mean.keys() == parts[0].keys()
    for name, tensor in mean.items():
        assert torch.allclose(tensor, (parts[0][name] + parts[1][name]) / 2, atol=1e-7)
    assert any(not torch.equal(parts[0][name], parts[1][name]) for name in mean)
    assert read_run(folds).calibration.rows == len(read_submission(folds / "out_of_fold.csv")[0])
    battles = load_battles(str(SAMPLE)).select(range(8))
    log_probs = open_predictor(PredictionFlags(model=[str(folds)])).predict(battles)
    assert np.allclose(np.exp(log_probs).sum(axis=1), 1)
