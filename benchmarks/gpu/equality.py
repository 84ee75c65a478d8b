"""Packed reading on this device, each architecture in each dtype: its scores are those of each row by itself.

Differences are in standard deviations of the scores. Beside packed rows stand padded ones: in half precision every way of
reading rounds in its own way, and packed rows may differ as much as padded ones do, and somewhat more.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.device import as_capability, forget_peak
from benchmarks.gpu.models import random_battles, random_model
from reward_model.model.packed.check import packed_reader
from reward_model.model.packed.reader import PackedReader
from reward_model.model.score_layer import last_positions, score_inputs
from reward_model.tokens.token_budget import padded

WINDOW = {False: 256, True: 16}
# What each adds to the common sizes. Windows are short, so that rows are longer than they are.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": "window"},
    "phi3": {"sliding_window": "window"},
    "gemma2": {"sliding_window": "window", "attn_logit_softcapping": 5.0, "query_pre_attn_scalar": 64},
    "gemma3_text": {"sliding_window": "window"},
    "bert": {},
    "electra": {},
    "roberta": {},
    "modernbert": {"local_attention": "window"},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
}
ENCODERS = {"bert", "electra", "roberta", "modernbert", "deberta-v2"}
PADDED_ONLY = {"deberta-v2"}
ALLOWED = {torch.float32: 1e-3, torch.bfloat16: 0.15, torch.float16: 0.05}


def small_config(name: str, *, tiny: bool) -> Any:
    """Four layers of the architecture, wide enough for the device's own kernels unless tiny."""
    hidden, heads = (64, 4) if tiny else (1024, 16)
    fields: dict[str, Any] = {
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 4,
        "num_attention_heads": heads,
        "vocab_size": 4096,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "num_labels": 1,
    }
    if name in ENCODERS:
        fields |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "embedding_size": hidden}
        if name == "modernbert":
            fields |= {"cls_token_id": 1, "sep_token_id": 2}
    else:
        fields["num_key_value_heads"] = heads // 4
        if name not in ("phi3", "qwen2"):
            fields["head_dim"] = hidden // heads
    own = {key: WINDOW[tiny] if value == "window" else value for key, value in ARCHITECTURES[name].items()}
    return AutoConfig.for_model(name, **fields | own)


@torch.no_grad()
def read_singly(model: Any, rows: list[list[int]], device: torch.device) -> Tensor:
    """float32 [rows, 2]."""
    scores = []
    for row in rows:
        with score_inputs(model, positions=torch.tensor([len(row) - 1], device=device)):
            scores.append(model(input_ids=torch.tensor([row], device=device)).logits.float())
    return torch.cat(scores)


@torch.no_grad()
def read_padded(model: Any, rows: list[list[int]], device: torch.device) -> Tensor:
    """float32 [rows, 2]."""
    ids, mask = padded(rows, 0)
    with score_inputs(model, positions=last_positions(mask).to(device)):
        scores: Tensor = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
    return scores.float()


def difference(scores: Tensor, single: Tensor) -> float:
    """The largest difference, in standard deviations of the scores."""
    return float(((scores - single).abs() / single.std(dim=0)).max())


def compare(bench: Bench, section: str, name: str, config: Any, dtype: torch.dtype) -> None:
    """One row: whether the model is read packed, and how far its scores are from those of single reading."""
    model = random_model(config, dtype, bench.device, gain=4.0)
    longest = 96 if bench.tiny else 900
    rows = [row for battle in random_battles(4, longest, config.vocab_size, seed=1) for row in battle]
    single = read_singly(model, rows, bench.device)
    reader = packed_reader(model, longest)
    row: dict[str, Any] = {"model": name, "dtype": str(dtype).removeprefix("torch."), "packed": reader is not None}
    row["padded_differs_by"] = difference(read_padded(model, rows, bench.device), single)
    if reader is None:
        bench.results.add(section, **row, packed_differs_by=None, one_call=None, ok=name in PADDED_ONLY)
        return
    with torch.no_grad():
        row["packed_differs_by"] = difference(reader.scores(rows), single)
    row["one_call"] = used_one_call(reader, rows)
    allowed = max(ALLOWED[dtype], 3 * row["padded_differs_by"])
    bench.results.add(section, **row, ok=name not in PADDED_ONLY and row["packed_differs_by"] <= allowed)


def used_one_call(reader: PackedReader, rows: list[list[int]]) -> bool:
    """Whether any layer computed all pieces in one call of the device's varlen attention."""
    from reward_model.model.packed import varlen_attention

    calls = []
    stock = varlen_attention.attention

    def counted(*arguments: Any, **named: Any) -> Tensor:
        calls.append(1)
        return stock(*arguments, **named)

    varlen_attention.attention = counted
    try:
        with torch.no_grad():
            reader.scores(rows)
    finally:
        varlen_attention.attention = stock
    return bool(calls)


def equality(bench: Bench) -> None:
    """Every architecture, in every dtype that the device has."""
    dtypes = [torch.float32, torch.bfloat16]
    if bench.device.type == "cuda":
        dtypes.append(torch.float16)
        if torch.cuda.get_device_capability(bench.device) < (8, 0):
            dtypes.remove(torch.bfloat16)
    for name in ARCHITECTURES:
        for dtype in dtypes:
            compare(bench, "equality", name, small_config(name, tiny=bench.tiny), dtype)
            forget_peak()


def fallbacks(bench: Bench) -> None:
    """What a T4 does, forced on any GPU: no varlen attention, repeated key heads, float16."""
    dtype = torch.float16 if bench.device.type == "cuda" else torch.float32
    scope = as_capability(7, 5) if bench.device.type == "cuda" else contextlib.nullcontext()
    with scope:
        for name in ("llama", "qwen2", "gemma2"):
            compare(bench, "fallbacks", name, small_config(name, tiny=bench.tiny), dtype)
            forget_peak()
        if any(row["one_call"] for row in bench.results.sections["fallbacks"]):
            raise RuntimeError("varlen attention was called, which a T4 does not have")
