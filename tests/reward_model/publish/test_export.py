"""An export is a plain reward model: stock code gives the adapter's reward, and TRL trains a policy with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from arena_data.errors import InputError
from reward_model.api import RewardModel
from reward_model.baselines.regression.frozen import Frozen
from reward_model.cli import export as export_command
from reward_model.errors import ModelError
from reward_model.publish import export as exporting
from tests.helpers.grpo import mean_rewards_of_a_step
from tests.helpers.made_battles import Make
from tests.helpers.run_directories import make_run
from tests.helpers.tiny_models import byte_tokenizer

PROMPTS = ["What is 2 + 2?", "Sing.", ["Hi?", "And now?"]]
RESPONSES = ["4.", "La la la, la la.", ["Hello.", "Bye."]]


@pytest.fixture(scope="module", params=["llama", "bert"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    run = make_run(tmp_path_factory.mktemp("runs") / "run", kind=request.param, model_type="adapter")
    output = run.with_name("run-export")
    found = exporting.export(run, output, device="cpu")
    assert found.battles > 30 and found.turned == 0 and found.difference < 1e-4
    return run, output


def test_stock_code_gives_the_reward(exported: tuple[Path, Path]) -> None:
    run, output = exported
    rewards = RewardModel.from_pretrained(run, dtype="float32", device="cpu").reward(PROMPTS, RESPONSES)
    tokenizer = AutoTokenizer.from_pretrained(output)
    model = AutoModelForSequenceClassification.from_pretrained(output).eval()
    assert model.config.num_labels == 1 and model.dtype == torch.float32
    for prompt, response, expected in zip(PROMPTS, RESPONSES, rewards, strict=True):
        turns = [[text] if isinstance(text, str) else text for text in (prompt, response)]
        messages = []
        for user, assistant in zip(*turns, strict=True):
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            assert model(**inputs).logits[0, 0].item() == pytest.approx(expected, abs=1e-4)
    # No trace of the run: neither what only our code reads, nor where it lay.
    names = {path.name for path in output.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "export.json", "README.md"} <= names
    assert not {"reward_config.json", "style_head.safetensors", "adapter_config.json"} & names
    for name in ("config.json", "tokenizer_config.json", "README.md", "export.json"):
        assert str(run.parent) not in (output / name).read_text("utf-8")


def test_a_frozen_judge_becomes_a_stock_model_with_its_rewards(
    make: dict[str, Make], tiny_bert: str, tmp_path: Path
) -> None:
    baseline = Frozen(tiny_bert, max_length=64, pooling="normalized", dtype="float32")
    baseline.fit(make["words"](200, 1, words=4))
    baseline.save(tmp_path / "judge")
    battles = make["words"](40, 2, words=4)
    found = exporting.export(tmp_path / "judge", tmp_path / "export", device="cpu", battles=battles)
    assert found.battles == 40 and found.turned == 0 and found.difference < 1e-3
    config = AutoModelForSequenceClassification.from_pretrained(tmp_path / "export").config
    assert config.model_type == "bert" and config.num_labels == 1
    mean = Frozen(tiny_bert, max_length=64)
    mean.fit(make["words"](60, 1, words=4))
    mean.save(tmp_path / "mean")
    with pytest.raises(InputError, match="only a run, or a frozen baseline of normalized vectors"):
        exporting.export(tmp_path / "mean", tmp_path / "other")


def test_conversations_that_end_in_the_pad_token() -> None:
    """Llama 3's template ends in a token that is also the pad token where the tokenizer has none of its own."""
    tokenizer: Any = byte_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}<eos>{% endfor %}"
    exporting.write_template(tokenizer, 100)
    assert tokenizer.pad_token_id not in (tokenizer.eos_token_id, None)
    assert tokenizer.pad_token in ("<pad>", "[CLS]", "[SEP]")


def test_an_export_that_does_not_agree_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    monkeypatch.setitem(exporting.TOLERANCES, "bfloat16", 1e-6)
    with pytest.raises(ModelError, match=r"margins differ .* nothing was written, try --dtype float32"):
        exporting.export(run, tmp_path / "out", dtype="bfloat16", device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert export_command.main([str(run), "--device", "cpu", "--dtype", "float16"]) == 0
    assert json.loads((tmp_path / "run-export" / "export.json").read_text())["dtype"] == "float16"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something else"):
        exporting.export(run, tmp_path / "mine")
    with pytest.raises(InputError, match="joint encoding has no reward"):
        exporting.export(make_run(tmp_path / "joint", encoding="joint"), tmp_path / "out")


def test_a_step_of_grpo(exported: tuple[Path, Path], tmp_path: Path) -> None:
    """Stock TRL with the export's name, beside our own function: equal rewards, and the policy moves."""
    run, output = exported
    prompts = [[{"role": "user", "content": text}] for text in ("Count.", "Sing.", "Add 2 and 2.", "Say hello.")]
    ours = RewardModel.from_pretrained(run, dtype="float32", device="cpu")
    means = mean_rewards_of_a_step([str(output), ours.trl_reward], prompts, tmp_path)
    assert len(means) == 2 and means[0] == pytest.approx(means[1], abs=1e-3)


def test_others_may_read_what_is_written(exported: tuple[Path, Path]) -> None:
    """safetensors' files are made readable to their owner only."""
    run, output = exported
    for folder, plain in ((run, "reward_config.json"), (output, "export.json")):
        modes = {
            path.name: path.stat().st_mode for path in folder.iterdir() if path.suffix in (".safetensors", ".json")
        }
        assert set(modes.values()) == {modes[plain]}, modes
