"""Models of real shapes with random weights, made on the device, and battles of random tokens for them."""

import copy
import math
from typing import Any

import datasets
import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from reward_model.model.score_layer import find_score_layer, install_score_layer
from reward_model.plan.known_backbones import KNOWN
from reward_model.tokens.layout import lengths_packed

SHAPES = {"llama8b": "meta-llama/Meta-Llama-3-8B-Instruct", "gemma9b": "google/gemma-2-9b-it"}
VOCABULARY = 32000  # fewer words than the real ones: their table is looked up, and only takes memory
TINY: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
}
Battle = tuple[list[int], list[int]]


def shape(name: str, *, tiny: bool, layers: int | None = None) -> Any:
    """The configuration of a real model, or of a tiny one with its traits; with fewer layers if asked."""
    fields = {**KNOWN[SHAPES[name]], "vocab_size": VOCABULARY, "num_labels": 1, "pad_token_id": 0}
    if tiny:
        fields |= TINY | {"num_hidden_layers": 2}
        fields |= {name: TINY["head_dim"] for name in ("query_pre_attn_scalar",) if name in fields}
    if layers is not None:
        fields["num_hidden_layers"] = min(layers, fields["num_hidden_layers"])
    return AutoConfig.for_model(fields.pop("model_type"), **fields)


def random_model(config: Any, dtype: torch.dtype, device: torch.device, *, gain: float = 1.0) -> Any:
    """A classifier with this project's score layer, in evaluation mode.

    Args:
        gain: multiplies the weights of queries and keys: attention's scores as large as a trained model's, without which
            neither a cap nor a window would change much.
    """
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = AutoModelForSequenceClassification.from_config(copy.deepcopy(config), dtype=dtype)
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = 0
    install_score_layer(model, style_features=0, tie_bias=0.0)
    layer = find_score_layer(model)
    with torch.no_grad():
        for parameter in (layer.weight, layer.tie.weight):
            parameter.normal_()
        for name, parameter in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                parameter.mul_(gain)
    return model.to(device).eval()


def quantise(model: Any, weights: str) -> Any:
    """Linear layers outside the score layer become bitsandbytes' own: `nf4` with double quantisation, or `int8`."""
    import bitsandbytes as bnb

    linear = [(name, m) for name, m in model.named_modules() if type(m) is nn.Linear and "score" not in name]
    for name, stock in linear:
        device = stock.weight.device
        options: dict[str, Any] = {"bias": stock.bias is not None, "device": "meta"}
        if weights == "nf4":
            options |= {"compute_dtype": torch.bfloat16, "compress_statistics": True, "quant_type": "nf4"}
            new: Any = bnb.nn.Linear4bit(stock.in_features, stock.out_features, **options)
            packing: dict[str, Any] = {"compress_statistics": True, "quant_type": "nf4"}
            new.weight = bnb.nn.Params4bit(stock.weight.data, requires_grad=False, **packing)
            new.full_shape = tuple(stock.weight.shape)
        else:
            new = bnb.nn.Linear8bitLt(stock.in_features, stock.out_features, has_fp16_weights=False, **options)
            new.weight = bnb.nn.Int8Params(stock.weight.data.cpu(), requires_grad=False, has_fp16_weights=False)
        if stock.bias is not None:
            new.bias = stock.bias
        model.set_submodule(name, new.to(device))
    setattr(model, "is_loaded_in_4bit" if weights == "nf4" else "is_loaded_in_8bit", True)
    return model


class WordTokenizer:
    """Makes a tokenizer without files, for what wants one; texts are never read."""

    @staticmethod
    def make() -> PreTrainedTokenizerFast:
        words = {"<pad>": 0, "<eos>": 1, "Hello.": 2}
        return PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel(words, unk_token="<eos>")), pad_token="<pad>", eos_token="<eos>"
        )


def random_battles(count: int, longest: int, vocabulary: int, *, seed: int = 0, full: bool = False) -> list[Battle]:
    """Rows (A, B) of random tokens; lengths as in the competition, about 440 tokens a row, or all `longest` if `full`.

    Medians are 45 tokens of a prompt, which both rows begin with, and 230 of a response. Full rows share nothing.
    """
    random = np.random.default_rng(seed)

    def text(length: int) -> list[int]:
        ids: list[int] = random.integers(3, vocabulary, length).tolist()
        return ids

    if full:
        return [(text(longest), text(longest)) for _ in range(count)]
    battles = []
    for _ in range(count):
        prompt = text(int(np.clip(random.lognormal(math.log(45), 1.2), 8, longest // 2)))
        sides = [int(np.clip(random.lognormal(math.log(230), 0.9), 4, longest - len(prompt))) for _ in range(2)]
        battles.append((prompt + text(sides[0]), prompt + text(sides[1])))
    return battles


def training_rows(battles: list[Battle]) -> datasets.Dataset:
    """As `reward_model.train.dataset.training_rows` makes them; A has won every battle."""
    return datasets.Dataset.from_dict(
        {
            "input_ids_a": [a for a, _ in battles],
            "input_ids_b": [b for _, b in battles],
            "index": list(range(len(battles))),
            "length_a": [len(a) for a, _ in battles],
            "length_b": [len(b) for _, b in battles],
            "labels": [[1.0, 0.0, 0.0]] * len(battles),
        }
    )


def row_tokens(battles: list[Battle]) -> int:
    return sum(len(row) for battle in battles for row in battle)


def distinct_tokens(battles: list[Battle]) -> int:
    """A prompt counts once."""
    return sum(sum(lengths_packed(battle, shares=True)) for battle in battles)


def needed_flops(model: Any, battles: list[Battle], *, training: bool) -> float:
    """What must be computed for these battles: distinct tokens once, attention's causal half.

    A LoRA step with checkpointing is three forward passes and the adapters' gradients (`reward_model.plan.footprint`).
    """
    stock = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = stock.config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    linear = sum(
        math.prod(getattr(module, "full_shape", module.weight.shape))
        for name, module in stock.named_modules()
        if isinstance(module, nn.Linear) and "lora_" not in name and "score" not in name
    )
    adapters = sum(p.numel() for name, p in stock.named_parameters() if "lora_" in name)
    tokens = distinct_tokens(battles)
    pairs = sum(len(row) ** 2 for battle in battles for row in battle) / 2
    forward = 2 * (linear + adapters) * tokens + 4 * config.num_hidden_layers * width * pairs
    return 3 * forward + 2 * adapters * tokens if training else forward
