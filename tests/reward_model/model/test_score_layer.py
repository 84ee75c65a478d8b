"""The score layer by itself and in tiny models: its numbers, its dtype, its inputs, where it goes and how it loads."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BitsAndBytesConfig,
    DebertaV2Config,
    LlamaConfig,
    ModernBertConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from reward_model.model import score_layer as score
from reward_model.model.score_layer import (
    TieAwareScore,
    find_score_layer,
    install_score_layer,
    last_positions,
    score_inputs,
)
from reward_model.run_directory.load_score import load_score

SIZES = {
    "vocab_size": 40,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 1,
}
LLAMA = LlamaConfig(**SIZES, num_labels=1)
ROBERTA = RobertaConfig(**SIZES, num_labels=1)
STYLE = 2


def stock(config: PreTrainedConfig) -> Any:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config)


def lora(model: Any, **options: Any) -> Any:
    options = {"target_modules": "all-linear", "modules_to_save": score.head_module_names(model)} | options
    return get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=2, **options))


def filled(config: PreTrainedConfig, style_features: int = STYLE) -> Any:
    """A model whose score layer has no zero in it, so that no term can hide."""
    model = stock(config)
    layer = install_score_layer(model, style_features=style_features, tie_bias=-0.5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return model


@pytest.fixture
def model() -> Any:
    return filled(LLAMA)


@pytest.fixture
def layer(model: Any) -> TieAwareScore:
    return find_score_layer(model)


def test_the_numbers_are_those_of_the_formula(model: Any, layer: TieAwareScore) -> None:
    state, style, pair = torch.randn(4, 8), torch.randn(4, STYLE), torch.rand(4, STYLE + 1)
    assert layer.style_reward is not None and layer.style_tie is not None and layer.style_similarity is not None
    value = state @ layer.weight[0]
    tie = state @ layer.tie.weight[0] + layer.tie.bias
    torch.testing.assert_close(layer(state), torch.stack((value, tie), dim=1))
    with score_inputs(model, style=style, pair=pair):
        both = layer(state)
    torch.testing.assert_close(both[:, 0], value + style @ layer.style_reward)
    torch.testing.assert_close(
        both[:, 1], tie + pair[:, :STYLE] @ layer.style_tie + pair[:, 2] * layer.style_similarity
    )
    with score_inputs(model, style=style):
        torch.testing.assert_close(layer(state)[:, 1], tie)


def test_tokens_are_pooled_at_their_positions_and_expanded(model: Any, layer: TieAwareScore) -> None:
    hidden = torch.randn(3, 5, 8, requires_grad=True)
    positions = torch.tensor([4, 0, 2])
    style = torch.randn(3, STYLE)
    with score_inputs(model, positions=positions, style=style):
        both = layer(hidden)
        pooled = layer(hidden[torch.arange(3), positions])
    assert both.shape == (3, 5, 2)
    assert both.stride(1) == 0
    for index in range(5):
        assert torch.equal(both[:, index], pooled)
    both[:, 3].sum().backward()
    assert hidden.grad is not None
    touched = hidden.grad.abs().sum(dim=-1) > 0
    assert touched.nonzero()[:, 1].tolist() == positions.tolist()


def test_without_positions_every_token_is_scored(model: Any, layer: TieAwareScore) -> None:
    hidden, style = torch.randn(3, 5, 8), torch.randn(3, STYLE)
    with score_inputs(model, style=style, pair=torch.rand(3, STYLE + 1)):
        both = layer(hidden)
        assert torch.allclose(both[:, 2], layer(hidden[:, 2]), atol=1e-6)
    assert both.shape == (3, 5, 2)


def test_pooled_states_pass_over_the_positions(model: Any, layer: TieAwareScore) -> None:
    state = torch.randn(3, 8)
    with score_inputs(model, positions=torch.tensor([9, 9, 9])):
        assert torch.equal(layer(state), layer(state))
        assert layer(state).shape == (3, 2)


def test_inputs_are_cleared_even_after_an_error(model: Any, layer: TieAwareScore) -> None:
    state = torch.randn(3, 8)
    plain = layer(state)
    with pytest.raises(RuntimeError, match="boom"), score_inputs(model, style=torch.ones(3, STYLE)):
        assert not torch.equal(layer(state), plain)
        raise RuntimeError("boom")
    assert torch.equal(layer(state), plain)


def test_inputs_that_do_not_fit_are_refused(model: Any, layer: TieAwareScore) -> None:
    hidden = torch.randn(3, 5, 8)
    wrong: list[tuple[dict[str, torch.Tensor], str]] = [
        ({"positions": torch.zeros(2, dtype=torch.int64)}, r"positions has shape \(2,\); expected \(3,\)"),
        ({"style": torch.zeros(1, STYLE)}, r"style has shape \(1, 2\); expected \(3, 2\)"),
        ({"style": torch.zeros(3, STYLE + 1)}, "style has shape"),
        ({"pair": torch.zeros(3, STYLE)}, r"pair has shape \(3, 2\); expected \(3, 3\)"),
    ]
    for inputs, message in wrong:
        with pytest.raises(ValueError, match=message), score_inputs(model, **inputs):
            layer(hidden)
    with pytest.raises(ValueError, match="no tie-aware score layer"), score_inputs(nn.Linear(2, 2)):
        pass


def test_no_style_features_means_no_style_parameters() -> None:
    model = filled(LLAMA, style_features=0)
    assert {name for name, _ in find_score_layer(model).named_parameters()} == {"weight", "tie.weight", "tie.bias"}
    with pytest.raises(ValueError, match="without style features"), score_inputs(model, style=torch.zeros(2, 1)):
        find_score_layer(model)(torch.zeros(2, 8))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_change_of_dtype_leaves_the_parameters_alone(model: Any, layer: TieAwareScore, dtype: torch.dtype) -> None:
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    model.to(dtype)
    assert model.model.norm.weight.dtype == dtype
    after = layer.state_dict()
    assert all(after[name].dtype == torch.float32 and torch.equal(after[name], before[name]) for name in before)
    assert layer(torch.randn(2, 8, dtype=dtype)).dtype == torch.float32


def test_devices_are_followed_whatever_the_dtype(layer: TieAwareScore) -> None:
    layer.to("meta", torch.bfloat16)
    assert {(value.device.type, value.dtype) for value in layer.parameters()} == {("meta", torch.float32)}
    assert layer(torch.empty(2, 8, device="meta")).shape == (2, 2)


def test_parameters_cast_from_outside_still_compute_in_float32_and_can_be_restored(layer: TieAwareScore) -> None:
    state = torch.randn(64, 8)
    for parameter in layer.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    both = layer(state)
    assert both.dtype == torch.float32
    torch.testing.assert_close(both[:, 0], state @ layer.weight[0].float())
    layer.float()
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float32}


def test_autocast_does_not_reach_the_score(model: Any, layer: TieAwareScore) -> None:
    state, style = torch.randn(64, 8), torch.randn(64, STYLE)
    pair = torch.rand(64, STYLE + 1)
    with score_inputs(model, style=style, pair=pair):
        exact = layer(state)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(state), exact)


def test_last_positions_for_either_side_of_padding() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
    assert last_positions(mask).tolist() == [1, 3, 0, 3, 2]
    assert last_positions(mask.bool()).dtype == torch.int64
    with pytest.raises(ValueError, match="no token to pool"):
        last_positions(torch.tensor([[1, 1], [0, 0]]))


@pytest.mark.parametrize(("config", "name"), [(LLAMA, "score"), (ROBERTA, "classifier.out_proj")])
def test_install_keeps_the_weights_it_finds(config: PreTrainedConfig, name: str) -> None:
    model = stock(config).to(torch.bfloat16)
    old = model.get_submodule(name)
    old_bias = old.bias
    layer = install_score_layer(model, style_features=STYLE, tie_bias=-1.25)
    assert model.get_submodule(name) is layer is find_score_layer(model)
    assert layer.weight.dtype == torch.float32
    assert torch.equal(layer.weight, old.weight.float())
    assert (layer.bias is None) == (old_bias is None)
    assert old_bias is None or torch.equal(layer.bias, old_bias.float())
    assert layer.tie.bias.item() == -1.25
    assert not layer.tie.weight.any()


def test_heads_that_do_not_fit_are_refused() -> None:
    model = filled(LLAMA)
    wrong: list[tuple[nn.Module, str]] = [
        (stock(LlamaConfig(**SIZES, num_labels=3)), "score has 3 outputs; load the model with num_labels=1"),
        (AutoModel.from_config(LLAMA), "has no score layer"),
        (AutoModelForCausalLM.from_config(LLAMA), "lm_head has 40 outputs"),
        (nn.Linear(2, 1), "Linear is no Transformers model"),
        (lora(model), "before get_peft_model"),
        (filled(LLAMA), "is a tie-aware score layer already"),
    ]
    for unfit, message in wrong:
        with pytest.raises(ValueError, match=message) as caught:
            install_score_layer(unfit, style_features=0, tie_bias=0.0)
        assert "\n" not in str(caught.value)


def test_a_quantised_score_is_refused_and_a_skipped_one_is_not(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    stock(LLAMA).save_pretrained(tmp_path)
    with torch.device("meta"):
        names = score.head_module_names(AutoModelForSequenceClassification.from_config(LLAMA))
    loaded = {}
    for skipped in (["nothing"], names):
        four_bits = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=skipped)
        loaded[skipped[0]] = AutoModelForSequenceClassification.from_pretrained(tmp_path, quantization_config=four_bits)
    with pytest.raises(ValueError, match=r"is quantised; load the model with llm_int8_skip_modules=\['score'\]"):
        install_score_layer(loaded["nothing"], style_features=0, tie_bias=0.0)
    install_score_layer(loaded["score"], style_features=0, tie_bias=0.0)
    assert "Linear4bit" in {type(module).__name__ for module in loaded["score"].modules()}
    logits = loaded["score"](torch.tensor([[5, 6, 7]])).logits
    assert logits.dtype == torch.float32 and logits.shape == (1, 2)


def test_names_of_the_head() -> None:
    expected: list[tuple[PreTrainedConfig, str, set[str]]] = [
        (LLAMA, "score", {"score"}),
        (ROBERTA, "classifier", {"classifier"}),
        (BertConfig(**SIZES, num_labels=1), "classifier", {"classifier", "bert.pooler"}),
        (DebertaV2Config(**SIZES, num_labels=1, pooler_hidden_size=8), "classifier", {"classifier", "pooler"}),
        (
            ModernBertConfig(**SIZES, num_labels=1, bos_token_id=0, eos_token_id=2, cls_token_id=0, sep_token_id=2),
            "classifier",
            {"classifier", "head"},
        ),
    ]
    for config, name, names in expected:
        model = stock(config)
        assert (score.score_module_name(model), set(score.head_module_names(model))) == (name, names)
        install_score_layer(model, style_features=0, tie_bias=0.0)
        assert (score.score_module_name(model), set(score.head_module_names(model))) == (name, names)
        wrapped = lora(model)
        assert score.score_module_name(wrapped) == name
        trained = {key for key, value in wrapped.named_parameters() if value.requires_grad and "lora_" not in key}
        assert {key.removeprefix("base_model.model.").partition(".modules_to_save")[0] for key in trained} == names


@pytest.mark.parametrize("config", [LLAMA, ROBERTA])
def test_peft_holds_two_copies_and_both_get_the_inputs(config: PreTrainedConfig) -> None:
    model = lora(filled(config)).eval()
    copies = [module for module in model.modules() if isinstance(module, TieAwareScore)]
    assert len(copies) == 2
    assert not any("lora_" in name for name, _ in copies[0].named_parameters())
    active = find_score_layer(model)
    assert all(parameter.requires_grad for parameter in active.parameters())
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    style = torch.ones(2, STYLE)
    with torch.no_grad():
        plain = model(ids).logits
        with score_inputs(model, style=style):
            styled = model(ids).logits
            with model.disable_adapter():
                assert find_score_layer(model) is not active
                torch.testing.assert_close(model(ids).logits, styled)
    assert not torch.allclose(styled[:, 0], plain[:, 0])
    assert find_score_layer(model) is active


def test_find_without_a_layer_says_so() -> None:
    with pytest.raises(ValueError, match="no tie-aware score layer"):
        find_score_layer(stock(LLAMA))


def fresh(config: PreTrainedConfig, style_features: int = STYLE) -> Any:
    model = stock(config)
    install_score_layer(model, style_features=style_features, tie_bias=9.0)
    return model


@pytest.mark.parametrize("config", [LLAMA, ROBERTA])
@pytest.mark.parametrize("size", ["5GB", "2KB"], ids=["whole", "sharded"])
def test_a_full_model_is_loaded(config: PreTrainedConfig, size: str, tmp_path: Path) -> None:
    saved = filled(config)
    saved.save_pretrained(tmp_path, max_shard_size=size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (size == "2KB")
    model = fresh(config)
    load_score(model, tmp_path)
    wanted = find_score_layer(saved).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in find_score_layer(model).state_dict().items())


@pytest.mark.parametrize("config", [LLAMA, ROBERTA])
def test_an_adapter_is_loaded_into_the_active_copy_alone(config: PreTrainedConfig, tmp_path: Path) -> None:
    saved = lora(filled(config))
    saved.save_pretrained(str(tmp_path))
    model = lora(fresh(config))
    load_score(model, tmp_path)
    wanted = find_score_layer(saved).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in find_score_layer(model).state_dict().items())
    with model.disable_adapter():
        assert find_score_layer(model).tie.bias.item() == 9.0


@pytest.mark.parametrize("lost", ["weight", "tie.weight", "tie.bias", "style_reward", "style_tie", "style_similarity"])
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_missing_parameter_is_an_error(kind: str, lost: str, tmp_path: Path) -> None:
    saved = lora(filled(ROBERTA)) if kind == "lora" else filled(ROBERTA)
    saved.save_pretrained(str(tmp_path))
    file = tmp_path / ("adapter_model.safetensors" if kind == "lora" else "model.safetensors")
    tensors = load_file(file)
    kept = {name: value for name, value in tensors.items() if not name.endswith(f"out_proj.{lost}")}
    assert len(kept) == len(tensors) - 1
    save_file(kept, file, metadata={"format": "pt"})
    model = lora(fresh(ROBERTA)) if kind == "lora" else fresh(ROBERTA)
    before = {name: value.clone() for name, value in find_score_layer(model).state_dict().items()}
    with pytest.raises(ValueError, match=f"'classifier.out_proj' there lacks {lost}$"):
        load_score(model, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in find_score_layer(model).state_dict().items())


def test_directories_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no adapter_model\.safetensors, model\.safetensors"):
        load_score(fresh(LLAMA), tmp_path)
    filled(LLAMA).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has style_reward, style_similarity, style_tie, the model's has not"):
        load_score(fresh(LLAMA, style_features=0), tmp_path)
    model = fresh(LLAMA, style_features=STYLE + 1)
    before = find_score_layer(model).weight.clone()
    with pytest.raises(ValueError, match=r"score.style_reward has shape \(2,\); expected \(3,\)"):
        load_score(model, tmp_path)
    assert torch.equal(find_score_layer(model).weight, before)
