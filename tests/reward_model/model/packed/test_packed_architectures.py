"""Packed reading of every backbone that people use: losses, gradients and scores are those of each row by itself.

The table, in Markdown: `python -m tests.reward_model.model.packed.test_packed_architectures`.
"""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    SmolLM3Config,
    XLMRobertaConfig,
)

from reward_model.model.packed import reader as packed_reader_module
from reward_model.model.packed.check import check_rows, packed_reader, packed_reader_of_sharded
from reward_model.model.score_layer import install_score_layer
from reward_model.model.tie_links import log_probabilities
from reward_model.tokens.layout import lay_out
from tests.reward_model.model.test_every_architecture import ARCHITECTURES, DROPOUT_FREE, GROUPED, SHARED, padded, score

WINDOW = 8
MAX_LENGTH = 64
UNGROUPED = {name: value for name, value in GROUPED.items() if name != "head_dim"}
LAYERS = {"num_hidden_layers": 4}
CONFIGS: dict[str, PreTrainedConfig] = {
    "Llama 3": ARCHITECTURES["llama3"],
    "SmolLM 2": LlamaConfig(**GROUPED, tie_word_embeddings=True),
    "SmolLM 3": SmolLM3Config(**GROUPED | LAYERS, no_rope_layers=[1, 1, 1, 0]),
    "Qwen 2.5": ARCHITECTURES["qwen2"],
    "Qwen 2.5, windows": Qwen2Config(
        **UNGROUPED | LAYERS, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2
    ),
    "Qwen 3": ARCHITECTURES["qwen3"],
    "Mistral": MistralConfig(**GROUPED, sliding_window=WINDOW),
    "Phi-3": Phi3Config(**UNGROUPED, sliding_window=WINDOW),
    "Gemma 2": Gemma2Config(
        **GROUPED | LAYERS, sliding_window=WINDOW, attn_logit_softcapping=1.0, query_pre_attn_scalar=1
    ),
    "Gemma 3": Gemma3TextConfig(
        **GROUPED | LAYERS, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"] * 2
    ),
    "BERT": ARCHITECTURES["bert"],
    "ELECTRA": ARCHITECTURES["electra"],
    "RoBERTa": ARCHITECTURES["roberta"],
    "XLM-R": XLMRobertaConfig(**DROPOUT_FREE),
    "ModernBERT": ModernBertConfig(**SHARED | LAYERS, local_attention=WINDOW, cls_token_id=0, sep_token_id=2),
    "ModernBERT, mean": ModernBertConfig(
        **SHARED | LAYERS, local_attention=WINDOW, classifier_pooling="mean", cls_token_id=0, sep_token_id=2
    ),
    "MPNet": ARCHITECTURES["mpnet"],
    "DeBERTa": ARCHITECTURES["deberta_v3"],
}
# Their attention adds a bias of relative positions, outside of Transformers' interface.
PADDED_ONLY = {"MPNet", "DeBERTa"}
READINGS = ("one text a row", "shared prompt")
# Of the loss, of gradients by their norm, of scores by their spread. In bfloat16 two roundings differ by a few percent.
ALLOWED = {torch.float32: 2e-5, torch.bfloat16: 0.15}


@dataclass(frozen=True)
class Difference:
    """Largest differences between packed and single reading.

    Attributes:
        loss: relative.
        gradient: norm of the difference by the norm of the gradient.
        score: by the standard deviation of the scores.
    """

    loss: float
    gradient: float
    score: float


def model_of(name: str, dtype: torch.dtype) -> Any:
    """A tiny model whose random weights are large enough to tell positions, windows and caps apart."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(copy.deepcopy(CONFIGS[name]))
    install_score_layer(model, style_features=0, tie_bias=-0.7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.to(dtype).eval()


def battles(reading: str) -> list[list[int]]:
    """Rows of four battles, A beside B; some are far longer than the window."""
    random = torch.Generator().manual_seed(5)

    def text(length: int) -> list[int]:
        ids: list[int] = torch.randint(3, 60, (length,), generator=random).tolist()
        return ids

    rows = []
    for prompt, a, b in ((20, 9, 30), (17, 2, 25), (33, 21, 1), (5, 40, 12)):
        first = text(prompt)
        if reading == "shared prompt":
            rows += [first + text(a), first + text(b)]
        else:
            rows += [text(prompt + a), text(prompt + b)]
    return rows


def loss_of(scores: torch.Tensor) -> torch.Tensor:
    value, tie = scores.unbind(dim=-1)
    log_probs = log_probabilities(value[::2] - value[1::2], (tie[::2] + tie[1::2]) / 2, "davidson")
    return torch.nn.functional.nll_loss(log_probs, torch.tensor([0, 1, 2, 2]))


def read_singly(model: Any, rows: list[list[int]]) -> torch.Tensor:
    scores = []
    for row in rows:
        batch = padded([torch.tensor(row)])
        with score.score_inputs(model, positions=score.last_positions(batch["attention_mask"])):
            scores.append(model(**batch).logits.float())
    return torch.cat(scores)


def gradients(model: Any) -> torch.Tensor:
    parts = [p.grad.float().flatten() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return torch.cat(parts)


def difference(name: str, reading: str, dtype: torch.dtype, checkpointing: bool = False) -> Difference | None:
    """None where the model is read padded."""
    model, rows = model_of(name, dtype), battles(reading)
    reader = packed_reader(model, MAX_LENGTH)
    if reader is None:
        return None
    single = read_singly(model, rows)
    single_loss = loss_of(single)
    single_loss.backward()
    wanted = gradients(model)
    if checkpointing:
        model.train().activation_checkpointing_enable({"use_reentrant": False})
    with reader.reading():
        scores = reader.logits(model, lay_out(rows, reader.causal and reading == "shared prompt")).float()
        loss = loss_of(scores)
        loss.backward()
    return Difference(
        loss=abs(loss.item() - single_loss.item()) / single_loss.item(),
        gradient=float((gradients(model) - wanted).norm() / wanted.norm()),
        score=float((scores - single).abs().max().detach() / single.detach().std(dim=0).min()),
    )


@pytest.mark.parametrize("dtype", ALLOWED, ids=["float32", "bfloat16"])
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", CONFIGS)
def test_packed_is_single_reading(name: str, reading: str, dtype: torch.dtype) -> None:
    found = difference(name, reading, dtype)
    assert (found is None) == (name in PADDED_ONLY)
    if found is not None:
        assert max(found.loss, found.gradient, found.score) <= ALLOWED[dtype]


@pytest.mark.parametrize("name", ["Llama 3", "Gemma 2", "ModernBERT, mean", "RoBERTa", "Phi-3"])
def test_checkpointing_computes_the_same_pieces_again(name: str) -> None:
    found = difference(name, "shared prompt", torch.float32, checkpointing=True)
    assert found is not None and max(found.loss, found.gradient, found.score) <= ALLOWED[torch.float32]


@pytest.mark.parametrize("dtype", ALLOWED, ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("Gemma 2", "softcap"),
        ("Gemma 2", "window"),
        ("Gemma 3", "window"),
        ("Mistral", "window"),
        ("ModernBERT", "window"),
    ],
)
def test_reading_without_window_or_cap_is_noticed(
    name: str, ignored: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(pack: Any, query: Any, key: Any, value: Any, options: Any) -> Any:
        return attention(pack, query, key, value, dataclasses.replace(options, **{ignored: None}))

    attention = packed_reader_module.attention
    monkeypatch.setattr(packed_reader_module, "attention", without)
    assert packed_reader(model_of(name, dtype), MAX_LENGTH) is None


@pytest.mark.parametrize("name", CONFIGS)
def test_a_small_twin_answers_for_the_model(name: str) -> None:
    """Under DeepSpeed and FSDP the model itself cannot be tried before training."""
    model = model_of(name, torch.bfloat16)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for dtype in (None, torch.float32):
        reader = packed_reader_of_sharded(model, MAX_LENGTH, torch.device("cpu"), dtype)
        assert (reader is None) == (name in PADDED_ONLY)
        assert reader is None or reader.stock is model
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_rows_within_the_window_are_read_without_trying_longer_ones() -> None:
    """A window that no row exceeds costs the check nothing."""
    reader = packed_reader(model_of("Mistral", torch.float32), WINDOW)
    assert reader is not None
    assert [len(row) for row in check_rows(reader, WINDOW)] == [30, 33, 41, 54, 5]
    assert max(len(row) for row in check_rows(reader, WINDOW + 1)) > WINDOW


def main() -> None:
    print("| backbone | reading | float32: loss | gradient | scores | bfloat16: loss | gradient | scores |")
    print("| --- | --- |" + " --- |" * 6)
    for name in CONFIGS:
        for reading in READINGS:
            cells = []
            for dtype in ALLOWED:
                one = difference(name, reading, dtype)
                cells += ["padded"] * 3 if one is None else [f"{x:.0e}" for x in (one.loss, one.gradient, one.score)]
            print(f"| {name} | {reading} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
