"""What does not go together is refused before a battle is read, and what does go together is not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BloomConfig, LlamaConfig, RobertaConfig
from trl import ModelConfig

from reward_model.errors import ModelError
from reward_model.train.settings.checks import (
    check_settings,
    check_vocabulary,
    engine_of,
    tokenizer_note,
    whole_max_length,
)
from reward_model.train.settings.config import TieRewardConfig

FOUR_BITS = {"load_in_4bit": True, "use_peft": True, "dtype": "bfloat16"}
EIGHT_BITS = {"load_in_8bit": True, "use_peft": True}
CHECKPOINTING: dict[str, Any] = {"gradient_checkpointing": True}
REENTRANT: dict[str, Any] = {"gradient_checkpointing_kwargs": {"use_reentrant": True}}
NOT_REENTRANT: dict[str, Any] = {"gradient_checkpointing_kwargs": {"use_reentrant": False}}
SIZES: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def settings(tmp_path: Path, changed: dict[str, Any]) -> TieRewardConfig:
    config = TieRewardConfig(output_dir=str(tmp_path), use_cpu=True, batch_tokens=2048, max_length=1024)
    for name, value in changed.items():
        setattr(config, name, value)
    return config


@pytest.mark.parametrize(
    ("config", "model", "engine", "gpu", "message"),
    [
        ({"max_length": 1025}, {}, "single", True, "two rows of max_length 1025 are 2050 tokens"),
        ({"eval_batch_tokens": 2047}, {}, "single", True, "eval_batch_tokens is 2047"),
        ({}, {}, "fsdp", False, "FSDP runs on GPUs only"),
        ({"fp16": True}, {}, "ddp", False, "fp16 needs a GPU"),
        ({"adversarial_norm": 0.1}, {}, "zero3", True, "adversarial_norm needs whole weights, which zero3 shards"),
        ({"bf16": True}, {"load_in_4bit": True}, "single", True, "load_in_4bit leaves nothing to train"),
        ({}, {"load_in_8bit": True}, "single", True, "load_in_8bit leaves nothing to train"),
        (CHECKPOINTING, EIGHT_BITS, "single", True, "keeps all activations unless checkpointing is reentrant"),
        (CHECKPOINTING | NOT_REENTRANT, EIGHT_BITS, "single", True, "keeps all activations"),
        (CHECKPOINTING | REENTRANT, EIGHT_BITS, "ddp", True, "needs --ddp_find_unused_parameters false"),
        ({"torch_compile": True}, {}, "single", True, "torch_compile would compile again for every batch"),
        ({"use_liger_kernel": True}, {}, "single", False, "use_liger_kernel needs a GPU"),
        ({"use_liger_kernel": True}, {}, "single", True, "pip install liger-kernel"),
        ({"activation_offloading": True}, {}, "single", False, "activation_offloading needs a GPU"),
        ({}, {"load_in_8bit": True, "use_peft": True}, "zero3", True, "8-bit weights cannot be sharded by zero3"),
        ({}, FOUR_BITS, "single", False, "add --bf16 true --dtype bfloat16"),
        ({"bf16": True}, FOUR_BITS | {"dtype": "float32"}, "ddp", True, "add --dtype bfloat16"),
        ({"fp16": True}, FOUR_BITS, "ddp", True, "add --dtype float16"),
        ({"bf16": True}, FOUR_BITS, "fsdp", True, "add --bnb_4bit_quant_storage bfloat16"),
    ],
)
def test_refused_in_one_line(
    config: dict[str, Any], model: dict[str, Any], engine: str, gpu: bool, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        check_settings(settings(tmp_path, config), ModelConfig(**model), engine, gpu=gpu)


@pytest.mark.parametrize(
    ("config", "model", "engine", "gpu"),
    [
        ({}, {}, "zero3", False),
        ({"max_length": None}, {}, "single", False),
        ({"adversarial_norm": 0.1}, {}, "zero2", True),
        ({"bf16": True}, FOUR_BITS, "zero3", False),
        ({"bf16": True}, FOUR_BITS | {"bnb_4bit_quant_storage": "bfloat16"}, "fsdp", True),
        ({"fp16": True}, FOUR_BITS | {"dtype": "float16"}, "ddp", True),
        ({}, {"load_in_8bit": True, "use_peft": True}, "zero2", True),
        (CHECKPOINTING | REENTRANT, EIGHT_BITS, "single", True),
        (CHECKPOINTING | REENTRANT | {"ddp_find_unused_parameters": False}, EIGHT_BITS, "ddp", True),
        (CHECKPOINTING | NOT_REENTRANT, {}, "ddp", True),
        ({"activation_offloading": True}, {}, "single", True),
    ],
)
def test_allowed(config: dict[str, Any], model: dict[str, Any], engine: str, gpu: bool, tmp_path: Path) -> None:
    check_settings(settings(tmp_path, config), ModelConfig(**model), engine, gpu=gpu)


def test_the_engine_is_the_launchers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(tmp_path, {})
    assert engine_of(config) == "single"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert engine_of(config) == "fsdp"


class Tokenizer:
    """As many tokens as asked for; what the checks look at and nothing else."""

    def __init__(self, tokens: int, chat_template: str | None = None, cls_token: str | None = None) -> None:
        self.tokens, self.chat_template, self.cls_token = tokens, chat_template, cls_token

    def __len__(self) -> int:
        return self.tokens


@pytest.mark.parametrize(
    ("config", "tokens", "length", "message"),
    [
        (LlamaConfig(**SIZES, vocab_size=50, max_position_embeddings=8), 50, 4096, None),
        (LlamaConfig(**SIZES, vocab_size=50), 51, 8, "51 tokens and the model embeddings for 50"),
        (BertConfig(**SIZES, vocab_size=50, max_position_embeddings=64), 50, 64, None),
        (BertConfig(**SIZES, vocab_size=50, max_position_embeddings=64), 50, 65, "the model has 64 positions"),
        (RobertaConfig(**SIZES, vocab_size=50, max_position_embeddings=66, pad_token_id=1), 50, 65, "has 64 positions"),
    ],
)
def test_tokens_and_positions_fit_the_embeddings(config: Any, tokens: int, length: int, message: str | None) -> None:
    model = AutoModelForSequenceClassification.from_config(config)
    tokenizer: Any = Tokenizer(tokens)
    if message is None:
        check_vocabulary(model, tokenizer, length)
        return
    with pytest.raises(ModelError, match=message):
        check_vocabulary(model, tokenizer, length)


@pytest.mark.parametrize(
    ("tokenizer_says", "positions", "expected"),
    [(512, 4096, 512), (10**30, 4096, 4096), (10**30, None, "neither tokenizer nor model says")],
)
def test_without_a_max_length_as_many_tokens_as_tokenizer_or_model_allow(
    tokenizer_says: int, positions: int | None, expected: Any, tmp_path: Path
) -> None:
    config: Any = BloomConfig() if positions is None else LlamaConfig(**SIZES, max_position_embeddings=positions)
    config.save_pretrained(tmp_path)
    tokenizer: Any = Tokenizer(1)
    tokenizer.model_max_length = tokenizer_says
    arguments = ModelConfig(model_name_or_path=str(tmp_path))
    if isinstance(expected, int):
        assert whole_max_length(tokenizer, arguments) == expected
        return
    with pytest.raises(ModelError, match=expected):
        whole_max_length(tokenizer, arguments)


def test_only_a_decoder_without_a_template_is_worth_a_line() -> None:
    without: Any = Tokenizer(1)
    with_one: Any = Tokenizer(1, chat_template="{{ messages }}")
    encoder: Any = Tokenizer(1, cls_token="[CLS]")
    assert "no chat template" in str(tokenizer_note(without))
    assert tokenizer_note(with_one) is None and tokenizer_note(encoder) is None


@pytest.mark.skipif(torch.accelerator.is_available(), reason="needs a machine without an accelerator")
def test_bf16_on_a_cpu_needs_no_further_flag(tmp_path: Path) -> None:
    config = TieRewardConfig(output_dir=str(tmp_path), bf16=True)
    assert config.use_cpu and config.bf16
