"""The planner's counts against published ones, PyTorch's FLOP counter, bitsandbytes' real bytes, and arithmetic by hand."""

from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, LlamaConfig
from trl import ModelConfig

from reward_model.__main__ import main
from reward_model.errors import ModelError
from reward_model.model.quantised import NF4, NF4_DOUBLE
from reward_model.plan import plan as planning
from reward_model.plan.engines import ENGINES, held
from reward_model.plan.footprint import Footprint, _meta_model, footprint
from reward_model.plan.known_backbones import backbone_config

LORA: dict[str, Any] = {"use_peft": True, "lora_task_type": "SEQ_CLS"}
TINY = LlamaConfig(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=300,
    num_labels=1,
    pad_token_id=0,
)


def count(config: Any, arguments: ModelConfig, **changed: Any) -> Footprint:
    settings: dict[str, Any] = {"batch_tokens": 256, "max_length": 64, "checkpointing": False, "autocast": False}
    return footprint(config, arguments, **settings | {"accumulation": True} | changed)


@pytest.mark.parametrize(
    ("name", "matrix", "embedding", "adapter"),
    [
        ("google/gemma-2-9b-it", 8.32e9, 0.918e9, 216e6),
        ("meta-llama/Meta-Llama-3-8B-Instruct", 6.98e9, 0.525e9, 168e6),
        ("Qwen/Qwen2.5-7B-Instruct", 6.53e9, 0.545e9, 161.5e6),
        ("Qwen/Qwen2.5-14B-Instruct", 13.21e9, 0.779e9, None),
        ("Qwen/Qwen3-8B", 6.95e9, 0.622e9, None),
        ("Skywork/Skywork-Reward-Llama-3.1-8B-v0.2", 6.98e9, 0.525e9, None),
        ("answerdotai/ModernBERT-large", 0.344e9, 0.0516e9, None),
        ("google/gemma-3-270m", 0.100e9, 0.168e9, None),
        ("microsoft/deberta-v3-large", 0.303e9, 0.1317e9, None),
    ],
)
def test_known_backbones_have_the_published_number_of_parameters(
    name: str, matrix: float, embedding: float, adapter: float | None
) -> None:
    model = _meta_model(backbone_config(name), ModelConfig(**LORA, lora_r=64) if adapter else ModelConfig())
    found = {"embedding": 0, "matrix": 0, "adapter": 0}
    for module_name, module in model.named_modules():
        kind = (
            "embedding" if isinstance(module, torch.nn.Embedding) else "adapter" if "lora_" in module_name else "matrix"
        )
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            found[kind] += module.weight.numel()
    assert found["matrix"] == pytest.approx(matrix, rel=5e-3)
    assert found["embedding"] == pytest.approx(embedding, rel=5e-3)
    if adapter:
        assert found["adapter"] == pytest.approx(adapter, rel=5e-3)


@pytest.mark.parametrize("peft", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_flops_agree_with_pytorchs_counter(peft: bool, checkpointing: bool) -> None:
    rows, length = 2, 64
    arguments = ModelConfig(**LORA if peft else {}, attn_implementation="eager")
    counted = count(TINY, arguments, checkpointing=checkpointing)
    model = _meta_model(TINY, arguments).to_empty(device="cpu").train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if peft:
        model.enable_input_require_grads()
    ids = torch.ones(rows, length, dtype=torch.int64)
    counter = FlopCounterMode(display=False)
    with counter:
        model(input_ids=ids, attention_mask=ids, use_cache=False).logits.sum().backward()
    # What is left out: the score layer; and checkpointing computes no more of a layer again than its backward needs.
    allowed = 0.06 if checkpointing else 0.02
    assert counter.get_total_flops() == pytest.approx(counted.flops_per_token(length) * rows * length, rel=allowed)


@pytest.mark.parametrize(("nested", "expected"), [(False, NF4), (True, NF4_DOUBLE)])
def test_four_bits_cost_what_bitsandbytes_really_keeps(nested: bool, expected: float) -> None:
    weight = torch.randn(1024, 1024)
    _, state = bnb.functional.quantize_4bit(weight, quant_type="nf4", compress_statistics=nested)
    kept = weight.numel() // 2 + state.absmax.numel() * state.absmax.element_size()
    if nested:
        kept += state.state2.absmax.numel() * state.state2.absmax.element_size()
    assert kept / weight.numel() == pytest.approx(expected, rel=1e-6)


def test_quantised_weights_leave_embeddings_and_score_layer_as_they_are() -> None:
    counted = count(TINY, ModelConfig(**LORA, load_in_4bit=True, use_bnb_nested_quant=True, dtype="bfloat16"))
    head = 64  # PEFT keeps the frozen original of the score layer beside the one that is trained
    assert counted.frozen_bytes == pytest.approx(
        NF4_DOUBLE * counted.matrix + 2 * (counted.embedding + 13 * 64) + 4 * 2 * head, rel=0.02
    )


@pytest.mark.parametrize(
    ("said", "each"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, 0.5 + 2.5 / 32),
        ({"quant_method": "awq", "bits": 4, "group_size": 16}, 0.5 + 2.5 / 16),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, 1.0),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, NF4_DOUBLE),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 1.0),
    ],
)
def test_weights_that_are_quantised_already_count_as_they_lie_in_memory(said: dict[str, Any], each: float) -> None:
    config = LlamaConfig(**TINY.to_dict() | {"quantization_config": said, "hidden_size": 256, "intermediate_size": 512})
    counted = count(config, ModelConfig(**LORA, dtype="bfloat16"))
    rest = 2 * (counted.embedding + 13 * 256 + 256)
    assert counted.frozen_bytes - rest == pytest.approx(each * counted.matrix, rel=0.05)


def test_quantised_weights_that_cannot_be_trained_are_refused() -> None:
    packed = {"quantization_config": {"quant_method": "compressed-tensors"}}
    for said, arguments in (
        (packed, ModelConfig(**LORA)),
        ({"quantization_config": {"quant_method": "gptq"}}, ModelConfig()),
    ):
        with pytest.raises(ModelError, match=r"for prediction only|add --use_peft"):
            count(LlamaConfig(**TINY.to_dict() | said), arguments)


def test_activations_grow_with_tokens_and_layers_and_shrink_with_checkpointing() -> None:
    def activations(layers: int, **changed: Any) -> float:
        config = LlamaConfig(**TINY.to_dict() | {"num_hidden_layers": layers})
        return count(config, ModelConfig(**LORA, lora_r=4), **changed).activation_bytes

    few, more, twice = activations(4), activations(8), activations(4, batch_tokens=512)
    assert 1.7 * few < more < 2 * few
    assert 1.9 * few < twice < 2.1 * few
    assert activations(8, checkpointing=True) < 0.4 * more


def test_eight_bits_keep_every_layers_inputs_unless_checkpointing_is_reentrant() -> None:
    """bitsandbytes' MatMul8bitLt keeps its input on the context: 4 distinct inputs a Llama layer, in bfloat16."""
    tokens, width, wide = 256, TINY.hidden_size, TINY.intermediate_size
    kept = tokens * 2 * (3 * width + wide)

    def a_layer(**changed: Any) -> float:
        arguments = ModelConfig(**LORA, lora_r=4, dtype="bfloat16", load_in_8bit=changed.pop("eight", True))
        few, more = (
            count(
                LlamaConfig(**TINY.to_dict() | {"num_hidden_layers": layers}),
                arguments,
                checkpointing=True,
                autocast=True,
                **changed,
            ).activation_bytes
            for layers in (6, 12)
        )
        return (more - few) / 6

    plain = a_layer(eight=False)
    assert a_layer() - plain == pytest.approx(kept, rel=0.3)
    assert a_layer(reentrant=True) - plain < 0.1 * kept


def test_cuda_computes_attention_weights_in_float32() -> None:
    arguments = ModelConfig(attn_implementation="eager")
    config = backbone_config("microsoft/deberta-v3-large")
    config.num_hidden_layers, config.vocab_size = 2, 300
    gpu, cpu = (
        count(config, arguments, batch_tokens=512, max_length=256, autocast=True, checkpointing=True, gpu=gpu)
        for gpu in (True, False)
    )
    weights = 512 * 256 * config.num_attention_heads  # of one layer: one for each pair of tokens and head
    assert gpu.activation_bytes - cpu.activation_bytes >= 2 * weights


def test_the_line_through_shallow_models_meets_the_deep_one(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ModelConfig(**LORA, lora_r=4)
    straight = count(TINY, arguments).activation_bytes
    monkeypatch.setattr("reward_model.plan.footprint._SHALLOW", (5, 6))
    assert straight == pytest.approx(count(TINY, arguments).activation_bytes, rel=0.01)


def test_engines_share_what_the_zero_paper_says_they_share() -> None:
    parameters = 7_500_000_000
    counted = Footprint(
        embedding=0,
        matrix=parameters,
        other=0,
        adapter=0,
        trained=parameters,
        largest_layer=0,
        frozen_bytes=0,
        trained_bytes=4.0 * parameters,
        gradient_bytes=4.0 * parameters,
        activation_bytes=0,
        attention_width=0,
        layers=1,
        checkpointing=False,
    )
    gigabytes = {}
    for engine in ENGINES:
        one = held(engine, counted, devices=64, optimizer="adamw_torch", half=True, base=0, fragmentation=0)
        gigabytes[engine] = (one.total - one.gathered) / 1e9
    # Rajbhandari et al. 2020, figure 1: 7.5 billion parameters, 64 devices, mixed-precision Adam.
    assert gigabytes["zero1"] == pytest.approx(31.4, abs=0.1)
    assert gigabytes["zero2"] == pytest.approx(16.6, abs=0.1)
    assert gigabytes["zero3"] == pytest.approx(1.9, abs=0.1)
    assert gigabytes["ddp"] == pytest.approx(16 * 7.5)  # float32 weights under autocast: 4 + 4 + 8


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    AutoModelForSequenceClassification.from_config(TINY).save_pretrained(tmp_path / "tiny")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"model_name_or_path: {tmp_path / 'tiny'}\nbatch_tokens: 256\nmax_length: 64\nbf16: true\n")
    return recipe


def test_the_command_says_whether_it_fits(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--config", str(tiny), "--gpus", "2", "--memory", "2"]) == 0
    printed = capsys.readouterr().out
    assert "| zero3 |" in printed and "| single |" not in printed and "of training" in printed
    assert main(["plan", "--config", str(tiny), "--gpus", "2", "--memory", "0.5"]) == 1
    assert "fits nowhere" in capsys.readouterr().err


def test_time_follows_tokens_and_devices(tiny: Path) -> None:
    def seconds(*flags: str) -> float:
        return planning.plan(planning.parse(["--config", str(tiny), *flags])).train_seconds

    one = seconds("--battles", "1000", "--num_train_epochs", "1")
    assert seconds("--battles", "2000", "--num_train_epochs", "1") == pytest.approx(2 * one)
    assert seconds("--battles", "1000", "--num_train_epochs", "1", "--gpus", "4") == pytest.approx(one / 4)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("model_name_or_path: nowhere/at-all\n", "nowhere/at-all is no model directory"),
        (
            "model_name_or_path: models/minilm\nlearning_rat: 1\n",
            "no such setting: learning_rat (did you mean learning_rate?)",
        ),
        ("batch_tokens: 256\n", "model_name_or_path is not given"),
        ("model_name_or_path: models/minilm\nmax_length: -1\n", "max_length is -1"),
    ],
)
def test_bad_input_is_one_line(
    recipe: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "recipe.yaml").write_text(recipe)
    assert main(["plan", "--config", str(tmp_path / "recipe.yaml")]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert message in line
