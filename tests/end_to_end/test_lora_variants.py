"""Each LoRA that trains predicts what its trainer predicted, and exports; the others are refused before training."""

from pathlib import Path

import numpy as np
import pytest

from arena_data.loading import load_battles
from arena_data.submission import read_submission
from reward_model.cli import train as train_reward
from reward_model.cli.flags import PredictionFlags, open_predictor
from reward_model.publish.export import export
from tests.helpers.tiny_models import write_backbone

SAMPLE = Path(__file__).parents[2] / "arena_data" / "sample.csv"
SETTINGS = (
    f"--train_file {SAMPLE} --max_train_battles 40 --max_length 200 --batch_tokens 1000 --max_steps 2 --learning_rate 0.05"
    " --use_cpu true --disable_tqdm true --validation_share 0.2 --calibration_share 0.2 --use_peft --lora_r 4"
)
VARIANTS = {
    "plain": "",
    "rslora": "--use_rslora",
    "dora": "--use_dora",
    "dora_rslora": "--use_dora --use_rslora",
    "some_targets": "--lora_target_modules q_proj down_proj",
    "embeddings": "--lora_target_modules embed_tokens q_proj",
    "embeddings_dora": "--use_dora --lora_target_modules embed_tokens q_proj",
    "saved_embeddings": "--lora_modules_to_save embed_tokens",
    "saved_norm": "--lora_modules_to_save norm",
    "saved_projection": "--lora_target_modules q_proj --lora_modules_to_save o_proj",
}
REFUSED = {
    "--lora_target_parameters mlp.gate_proj.weight": "lora_target_parameters is not used",
    "--lora_modules_to_save nothing_here": "lora_modules_to_save nothing_here match nothing",
    "--lora_target_modules nothing_here": "lora_target_modules nothing_here match nothing",
    "--lora_target_modules q_proj nothing_here": "lora_target_modules nothing_here match nothing",
    "--lora_target_modules q_proj --lora_modules_to_save q_proj": "q_proj whole, and LoRA adapts it",
    "--lora_modules_to_save self_attn": "whole, and LoRA adapts it",
    "--lora_target_modules q_proj score": "lora_target_modules names score",
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_backbone(tmp_path_factory.mktemp("backbone"), hidden_size=16, intermediate_size=24)


def train(backbone: Path, output: Path, flags: str) -> int:
    command = f"--model_name_or_path {backbone} --output_dir {output} {SETTINGS} {flags}"
    return train_reward.main(command.split())


@pytest.mark.scale
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_that_trains_predicts_and_exports(variant: str, backbone: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(backbone, run, VARIANTS[variant]) == 0
    ids, held_out = read_submission(run / "held_out.csv")
    places = {name: place for place, name in enumerate(ids)}
    battles = load_battles(str(SAMPLE)).filter(lambda row: row["id"] in places)
    predictor = open_predictor(PredictionFlags(model=[str(run)], calibration="none", dtype="float32"))
    expected = held_out[[places[name] for name in battles["id"]]]
    np.testing.assert_allclose(np.exp(predictor.predict(battles)), expected, atol=1e-4)
    agreement = export(run, tmp_path / "export", device="cpu")
    assert agreement.difference <= 1e-4


@pytest.mark.parametrize("flags", REFUSED)
def test_a_variant_that_cannot_work_is_refused_by_its_flag(
    flags: str, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(backbone, tmp_path / "run", flags) == 2
    assert REFUSED[flags] in capsys.readouterr().err.splitlines()[-1]
    assert not list((tmp_path / "run").glob("checkpoint-*"))
