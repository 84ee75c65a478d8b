"""Every recipe parses as train_reward.py parses it, starts by a command that exists, and fits where it says it fits."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands import launch
from accelerate.commands.config.config_args import load_config_from_file
from trl import ModelConfig, TrlParser

from reward_model.plan import plan as planning
from reward_model.train.settings.config import DataArguments, TieRewardConfig
from tests.helpers.markdown_commands import steps

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
LAUNCHERS = sorted((ROOT / "ds_configs").glob("*.yaml"))


def comment(recipe: Path) -> str:
    """The recipe's opening comment, its lines joined where a command goes on."""
    lines = [line.lstrip("# ") for line in recipe.read_text("utf-8").splitlines() if line.startswith("#")]
    return "\n".join(lines).replace("\\\n", " ")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_parses_and_fits_its_batch(recipe: Path, tmp_path: Path) -> None:
    kinds: Any = [DataArguments, TieRewardConfig, ModelConfig]
    here = ["--use_cpu", "true", "--bf16", "false", "--fp16", "false", "--output_dir", str(tmp_path)]
    _, config, model = TrlParser(kinds).parse_args_and_config(["--config", str(recipe), *here])
    # A battle's two rows of max_length are the least that a batch must hold.
    assert config.batch_tokens >= 2 * config.max_length
    assert not (model.load_in_4bit and not model.use_peft)
    if model.lora_dropout and model.use_peft:
        assert not config.disable_dropout
    settings = yaml.safe_load(recipe.read_text("utf-8"))
    assert not (settings.get("bf16") and settings.get("fp16"))
    if model.load_in_4bit:  # bitsandbytes computes in this dtype, and it must be autocast's
        assert model.dtype == ("bfloat16" if settings.get("bf16") else "float16")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_fits_where_it_says_it_fits(recipe: Path) -> None:
    said = comment(recipe)
    command = re.search(r"arena-reward plan (.*)", said)
    if command is None:
        pytest.skip("measured, not estimated")
    flags = [str(ROOT / flag) if flag.startswith("recipes/") else flag for flag in shlex.split(command[1])]
    settings = planning.parse(flags)
    found = planning.plan(settings)
    assert found.fitting(settings.memory) == [settings.engine]
    memory = re.search(r"memory: ([\d.]+) GiB", said)
    assert memory, "the estimate is missing from the comment"
    assert float(memory[1]) == pytest.approx(found.engines[0].total / planning.GIB, abs=0.06)
    assert f"time: {planning.hours(found.train_seconds)} for" in said


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_names_files_that_are_there(recipe: Path) -> None:
    for name in re.findall(r"(?:recipes|ds_configs)/[\w.]+", comment(recipe)):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.stem)
def test_accelerate_reads_its_configurations(launcher: Path) -> None:
    config: Any = load_config_from_file(str(launcher))
    assert config.num_processes >= config.num_machines >= 1
    deepspeed = getattr(config, "deepspeed_config", None) or {}
    if deepspeed:
        stage = json.loads((ROOT / deepspeed["deepspeed_config_file"]).read_text())["zero_optimization"]["stage"]
        assert launcher.stem == f"zero{stage}"


def launches() -> list[str]:
    """Every `accelerate launch` of pages and recipes that a person can give as it stands."""
    pages = [ROOT / "README.md", ROOT / "ds_configs" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    lines = [step.text for page in pages for step in steps(page.read_text("utf-8"))]
    lines += [line for recipe in RECIPES for line in comment(recipe).splitlines()]
    return sorted({" ".join(line.split()) for line in lines if line.startswith("accelerate launch")})


def test_no_command_is_answered_by_accelerates_block_of_warnings(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(launch, "default_config_file", "absent")  # a reader may have none

    def answer(command: str) -> str:
        caplog.clear()
        launch._validate_launch_command(launch.launch_command_parser().parse_args(shlex.split(command)[2:]))
        return caplog.text

    assert len(launches()) > 10
    assert [command for command in launches() if answer(command)] == []
    assert "had defaults used instead" in answer("accelerate launch train_reward.py")  # the check can fail


def test_every_configuration_has_its_row() -> None:
    rows = (ROOT / "ds_configs" / "README.md").read_text("utf-8")
    for path in (ROOT / "ds_configs").iterdir():
        if path.suffix in (".json", ".yaml"):
            assert f"`{path.name}`" in rows, path.name
