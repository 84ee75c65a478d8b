"""Each large recipe from battles to a submission, on a tiny random backbone of its architecture.

The backbone has the traits that the real one has and others lack: Gemma 2's capped logits and its layers that look back
over a window alone, Llama's and Qwen's grouped heads, Qwen 2.5's biases, Qwen 3's norms of queries and keys, DeBERTa's
relative positions, ModernBERT's windows.
The recipe is run as it stands, NF4 weights and 8-bit AdamW (unpaged on a CPU) included, but for

- `model_name_or_path`, `train_file`, `output_dir`: the tiny backbone, the sample, a temporary folder;
- `use_cpu`: there need be no GPU;
- `fp16` and `dtype` of the T4 recipe, to bf16: this project refuses fp16 without a GPU
(`reward_model.train.settings.checks`);
- `max_length`, `batch_tokens`, `gradient_accumulation_steps`, `max_train_battles` and the held-out shares, for time:
  a few steps on 40 battles of bytes, too few for the loss to say anything, so it is the weights that must have moved;
- `report_to`: no tracker.

One process each: neither GPU kernels, nor fp16, nor several devices, nor the real weights are tried here; the README says
what was run.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification

from arena_data.__main__ import main as arena_data
from arena_data.submission import COLUMNS
from reward_model.cli import predict
from reward_model.cli import train as train_reward
from reward_model.plan.known_backbones import KNOWN
from tests.helpers.tiny_models import SIZES, byte_tokenizer

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "arena_data" / "sample.csv"
LARGE = sorted(path for path in (ROOT / "recipes").glob("*.yaml") if "_cpu" not in path.stem)
# What is made small of the shapes in `reward_model.plan.known_backbones`, where the architecture has it.
SMALL = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "sliding_window": 64,
    "local_attention": 64,
    "position_buckets": 32,
    "pooler_hidden_size": SIZES["hidden_size"],
}
# One of each way to train in `make test`; the others are run by `make scale`.
IN_THE_SUITE = {
    "deberta_v3_large",
    "gemma2_9b_joint_qlora_24gb",
    "gemma2_9b_qlora_2xt4",
    "llama3_8b_int8_2x24gb",
    "skywork_llama31_8b_qlora",
}
MARKED = [
    pytest.param(path, id=path.stem, marks=[] if path.stem in IN_THE_SUITE else pytest.mark.scale) for path in LARGE
]
SHORT = [
    *("--max_train_battles", "40", "--validation_share", "0.2", "--calibration_share", "0.2", "--max_length", "256"),
    *("--batch_tokens", "2048", "--gradient_accumulation_steps", "1"),
    *("--use_cpu", "true", "--report_to", "none", "--disable_tqdm", "true"),
]
BF16_FOR_FP16 = ["--fp16", "false", "--bf16", "true", "--dtype", "bfloat16"]
HAS_BF16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()


def write_tiny(name: str, folder: Path) -> Path:
    """A model directory of the named model's architecture, tiny, with random weights; returns the folder."""
    tokenizer = byte_tokenizer(encoder="deberta" in name or "ModernBERT" in name)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    # Real embeddings are padded, too; Transformers gives Qwen's tokenizer a token more when it is loaded.
    known = KNOWN[name]
    fields = known | SIZES | {field: value for field, value in SMALL.items() if field in known}
    tokens = {"vocab_size": len(tokenizer) + 60, "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model(**fields | tokens)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, some: list[dict[str, str]], columns: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(some)
    return path


def taught(folder: Path) -> Path:
    """The sample beside a teacher halfway between its verdicts and the uniform one, joined as the recipe says."""
    judged = [row | {name: str(0.5 * float(row[name]) + 0.5 / 3) for name in COLUMNS} for row in read_rows(SAMPLE)]
    teacher = write_rows(folder / "teacher.csv", judged, ["id", *COLUMNS])
    assert arena_data([str(SAMPLE), "--teacher", str(teacher), "--output", str(folder / "taught.jsonl")]) == 0
    return folder / "taught.jsonl"


@pytest.mark.parametrize("recipe", MARKED)
def test_a_large_recipe_runs_from_battles_to_a_submission(recipe: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = yaml.safe_load(recipe.read_text("utf-8"))
    if not HAS_BF16:
        pytest.skip("this CPU has no bf16, which every large recipe computes in")
    backbone = write_tiny(settings["model_name_or_path"], tmp_path / "backbone")
    output = tmp_path / "run"
    files = taught(tmp_path) if "teacher_weight" in settings else SAMPLE
    given = ["--config", str(recipe), "--model_name_or_path", str(backbone), "--train_file", str(files)]
    forced = BF16_FOR_FP16 if settings.get("fp16") else []
    assert train_reward.main([*given, "--output_dir", str(output), *SHORT, *forced]) == 0

    if settings.get("use_peft"):
        saved = load_file(output / "adapter_model.safetensors")
        # LoRA's second factors start at zero.
        second = {name: value for name, value in saved.items() if "lora_B" in name}
        assert len(second) == len(settings["lora_target_modules"]) * SIZES["num_hidden_layers"]
        assert all(value.float().abs().max() > 0 for value in second.values())
    else:
        saved = load_file(output / "model.safetensors")
        before = load_file(backbone / "model.safetensors")
        moved = [name for name in before if name in saved and not torch.equal(before[name], saved[name])]
        assert len(moved) > len(before) / 2
    head = {name: value for name, value in saved.items() if "score" in name or "classifier" in name}
    assert head and {value.dtype for value in head.values()} == {torch.float32}

    if "Skywork" in settings["model_name_or_path"]:  # a reward model's head is where ours starts, and stays near
        stock = load_file(backbone / "model.safetensors")["score.weight"]
        ours = next(value for name, value in head.items() if name.endswith("score.weight"))
        assert (ours - stock).norm() < 0.1 * stock.norm()

    wanted = read_rows(SAMPLE)[-20:]
    held_out = write_rows(tmp_path / "test.csv", wanted, ["id", "prompt", "response_a", "response_b"])
    submission = tmp_path / "submission.csv"
    flags = ["--model", str(output), "--input", str(held_out), "--output", str(submission), "--offline", "--quiet"]
    assert predict.main([*flags, "--device", "cpu"]) == 0
    found = read_rows(submission)  # as printed: `read_submission` would make each row sum to 1
    assert [row["id"] for row in found] == [row["id"] for row in wanted]
    probabilities = np.array([[float(row[name]) for name in COLUMNS] for row in found])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=2e-9)
    assert (probabilities > 0).all() and len(np.unique(probabilities[:, 0])) > 1
