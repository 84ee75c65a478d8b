"""train_reward.py on battles of several sources, some graded, and a second stage from the first: tiny, on a random Llama."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from arena_data.file_io import json_object, read_json
from reward_model.api import RewardModel
from reward_model.cli import train as train_reward
from reward_model.run_directory.reading import is_complete, read_run
from tests.helpers.tiny_models import byte_tokenizer, save_tiny_bert, write_backbone

SAMPLE = Path(__file__).parents[2] / "arena_data" / "sample.csv"
SETTINGS = (
    "--max_train_battles 40 --max_length 160 --batch_tokens 640 --max_steps 4 --learning_rate 1e-3 --use_cpu true"
    " --disable_tqdm true --validation_share 0.2 --calibration_share 0.2 --save_strategy steps --save_steps 2"
    " --eval_strategy steps --eval_steps 2 --load_best_model_at_end false"
)
WEIGHTS = "model.safetensors"


def train(output: Path, *more: str) -> int:
    return train_reward.main(["--train_file", str(SAMPLE), "--output_dir", str(output), *SETTINGS.split(), *more])


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_backbone(tmp_path_factory.mktemp("backbone"), hidden_size=16, intermediate_size=24)


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A study with ties and grades, and one that never records a tie; each has 24 battles."""
    folder = tmp_path_factory.mktemp("extra")
    random = np.random.default_rng(0)

    def row(study: str, number: int) -> dict[str, Any]:
        texts = [["yes " * int(size)] for size in random.integers(1, 12, 2)]
        return {"prompt": [f"{study} {number}"], "response_a": texts[0], "response_b": texts[1]}

    words = ("a-is-better", "a-is-slightly-better", "tie", "b-is-slightly-better")
    graded = [row("graded", number) | {"strength": words[number % 4]} for number in range(24)]
    decided = [row("decided", number) | {"winner": "ab"[number % 2]} for number in range(24)]
    for name, rows in (("graded", graded), ("decided", decided)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return [str(folder / f"{name}.jsonl") for name in ("graded", "decided")]


@pytest.fixture(scope="module")
def first(backbone: Path, extra: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "first"
    given = ["--model_name_or_path", str(backbone), "--extra_file", *extra, "--extra_weight", "0.5", "--grades", "all"]
    assert train(output, *given) == 0
    return output


def test_each_source_has_its_offset_and_its_gaps(first: Path, backbone: Path) -> None:
    run = read_run(first)
    assert is_complete(first)
    assert run.config.sources == ["graded", "decided"] and run.config.grade_levels == 2
    score = {name: value for name, value in load_file(first / WEIGHTS).items() if name.startswith("score.")}
    assert score["score.source_bias"].shape == (2,) and score["score.grade_bias"].shape == (3, 1)
    checkpoint = load_file(first / "checkpoint-2" / WEIGHTS)
    moved = score["score.source_bias"] - checkpoint["score.source_bias"]
    # Davidson's likelihood of who wins, given that nobody ties, says nothing of ties.
    assert moved[0] != 0 and moved[1] == 0
    # Only the second source is graded, and only by what is graded are its gaps moved.
    gaps = score["score.grade_bias"] - checkpoint["score.grade_bias"]
    assert (gaps != 0).flatten().tolist() == [False, True, False]
    assert run.metrics["source_weights"] == {"graded": 0.5, "decided": 0.5}
    card = (first / "README.md").read_text("utf-8")
    assert "Battles of other sources were used for training alone: graded, decided." in card


def test_predictions_are_those_of_our_own_battles(first: Path, tmp_path: Path) -> None:
    """Other offsets and gaps change nothing that is predicted."""
    texts = ("Hello", "yes yes yes", "no")
    before = RewardModel.from_pretrained(str(first), device="cpu").compare(*texts)
    other = Path(shutil.copytree(first, tmp_path / "other"))
    weights = load_file(other / WEIGHTS)
    for name in ("score.source_bias", "score.grade_bias"):
        weights[name] = weights[name] + 3
    save_file(weights, other / WEIGHTS, metadata={"format": "pt"})
    assert RewardModel.from_pretrained(str(other), device="cpu").compare(*texts) == before


def test_a_stranger_sees_a_plain_reward_model(first: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(first, num_labels=1)
    torch.testing.assert_close(model.score.weight, load_file(first / WEIGHTS)["score.weight"])


def test_it_goes_on_as_the_same_run_and_to_the_same_bytes(
    first: Path, backbone: Path, extra: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    shutil.copytree(first / "checkpoint-2", stopped / "checkpoint-2")
    shutil.copy(first / "run_settings.json", stopped)
    given = ["--model_name_or_path", str(backbone), "--extra_file", *extra, "--grades", "all", "--extra_weight"]
    assert train(stopped, *given, "0.4") == 2
    assert "differs in extra_weight" in capsys.readouterr().err.splitlines()[-1]
    assert train(stopped, *given, "0.5") == 0
    assert "going on from" in capsys.readouterr().err
    assert (stopped / WEIGHTS).read_bytes() == (first / WEIGHTS).read_bytes()


def test_a_prompt_that_is_held_out_is_in_no_extra_battle(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same file as ours and as another source's: only its training part may be used twice."""
    assert train(tmp_path / "run", "--model_name_or_path", str(backbone), "--extra_file", str(SAMPLE)) == 0
    said = capsys.readouterr().err
    counts = {name: int(said.split(f"{name}: ")[1].split()[0]) for name in ("train", "validation", "calibration")}
    left_out = int(said.split(" battles of other sources are left out")[0].split()[-1])
    assert left_out >= counts["validation"] + counts["calibration"]
    assert "weight" in said and "(by cross-validation of style)" in said


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--extra_weight 2", "--extra_weight is of --extra_file"),
        ("--init_from no/such_folder/here", "no/such_folder/here"),
        ("--init_from tests", "is neither a run (reward_config.json) nor a model (config.json)"),
        ("--init_from FIRST --encoding joint", "add --encoding separate"),
        ("--init_from BACKBONE", "is no one-label reward model"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(
    more: str,
    message: str,
    first: Path,
    backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    headless = tmp_path / "headless"
    if "BACKBONE" in more:
        AutoModelForSequenceClassification.from_pretrained(backbone).model.save_pretrained(headless)
        byte_tokenizer().save_pretrained(headless)
        config = read_json(headless / "config.json", json_object) | {"num_labels": 1}
        (headless / "config.json").write_text(json.dumps(config))
    given = more.replace("FIRST", str(first)).replace("BACKBONE", str(headless)).split()
    assert train(tmp_path / "run", "--model_name_or_path", str(backbone), *given) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_the_second_stage_starts_from_what_the_first_has_learned(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "second"
    still = ["--learning_rate", "1e-12", "--score_learning_rate", "1e-12"]
    assert train(output, "--init_from", str(first), *still) == 0
    said = capsys.readouterr().err
    assert f"init_from {first}: taken: backbone, score, ties" in said
    before, after = load_file(first / WEIGHTS), load_file(output / WEIGHTS)
    for name in before.keys() & after.keys():
        if "style" not in name and name != "score.tie.bias":
            torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    assert "score.source_bias" not in after and "score.source_bias" in before
    assert read_run(output).config.base_model == str(first)
    settings = read_json(output / "run_settings.json", json_object)
    assert len(settings["trainer"]["init_from"]) == 32 and str(first) not in json.dumps(settings["trainer"])


def test_an_adapter_goes_on_as_an_adapter(backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora = ["--model_name_or_path", str(backbone), "--use_peft", "--lora_r", "4", "--save_strategy", "no"]
    assert train(tmp_path / "first", *lora) == 0
    still = ["--learning_rate", "1e-12", "--score_learning_rate", "1e-12"]
    assert train(tmp_path / "second", *lora, "--init_from", str(tmp_path / "first"), *still) == 0
    assert f"taken: adapter of {backbone}, score, ties" in capsys.readouterr().err
    before, after = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("first", "second"))
    lora_b = [name for name in before if "lora_B" in name]
    assert lora_b and all(before[name].abs().max() > 0 for name in lora_b)
    for name in [*lora_b, "base_model.model.score.weight", "base_model.model.score.tie.weight"]:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    wider = [*lora[:-4], "--lora_r", "8", "--save_strategy", "no"]
    assert train(tmp_path / "third", *wider, "--init_from", str(tmp_path / "first")) == 2
    assert "its adapter has r 4, this run 8" in capsys.readouterr().err.splitlines()[-1]


def test_the_recipe_of_two_stages(extra: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both recipes as they stand, but for a tiny backbone, few short battles and no tracker."""
    bert = save_tiny_bert(tmp_path / "bert")
    recipes = Path(__file__).parents[2] / "recipes"
    short = ["--max_train_battles", "40", "--max_length", "128", "--report_to", "none", "--use_cpu", "true"]
    stages = {
        "stage1": ["--model_name_or_path", bert, "--extra_file", *extra, "--validation_share", "0.2"],
        "stage2": ["--init_from", str(tmp_path / "stage1")],
    }
    files = {"stage1": "minilm_cpu_stage1_preferences.yaml", "stage2": "minilm_cpu_stage2_arena.yaml"}
    for stage, own in stages.items():
        given = ["--config", str(recipes / files[stage]), "--train_file", str(SAMPLE), *own, *short]
        assert train_reward.main([*given, "--disable_tqdm", "true", "--output_dir", str(tmp_path / stage)]) == 0
    assert "taken: backbone, score, ties" in capsys.readouterr().err
    first, second = (load_file(tmp_path / stage / WEIGHTS) for stage in stages)
    assert second.keys() == first.keys() - {"classifier.source_bias", "classifier.grade_bias"}
    assert (second["classifier.weight"] - first["classifier.weight"]).norm() > 0
    model = RewardModel.from_pretrained(str(tmp_path / "stage2"), device="cpu")
    assert sum(model.compare("Hello", "river stone", "cloud")) == pytest.approx(1)
