"""The backbones that the recipes name, as numbers, so that a run can be planned where their weights cannot be had.

Each entry repeats the shape-giving fields of the `config.json` published with that model; `planning` builds the
architecture from it on the meta device, without weights. The tests check the parameter counts that follow against the
published ones.

Sources: https://huggingface.co/google/gemma-2-9b-it, https://huggingface.co/google/gemma-3-270m,
https://huggingface.co/meta-llama/Meta-Llama-3-8B-Instruct, https://huggingface.co/Qwen/Qwen2.5-7B-Instruct,
https://huggingface.co/microsoft/deberta-v3-large, https://huggingface.co/Qwen/Qwen2.5-14B-Instruct,
https://huggingface.co/Qwen/Qwen3-8B, https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct,
https://huggingface.co/Skywork/Skywork-Reward-Llama-3.1-8B-v0.2, https://huggingface.co/answerdotai/ModernBERT-large.
"""

import os
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from reward_model.model.pretrained import load_config

_GEMMA2_9B = {
    "model_type": "gemma2",
    "vocab_size": 256000,
    "hidden_size": 3584,
    "intermediate_size": 14336,
    "num_hidden_layers": 42,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "max_position_embeddings": 8192,
}
_GEMMA3_270M = {
    "model_type": "gemma3_text",
    "vocab_size": 262144,
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 512,
    "max_position_embeddings": 32768,
}
_LLAMA3_8B = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
_QWEN25_7B = {
    "model_type": "qwen2",
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
}
_QWEN25_14B = _QWEN25_7B | {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
}
_QWEN3_8B = {
    "model_type": "qwen3",
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
}
# Its longer positions come from scaled rotations, which have no weights.
_LLAMA31_8B = _LLAMA3_8B | {"max_position_embeddings": 131072}
_MODERNBERT_LARGE = {
    "model_type": "modernbert",
    "vocab_size": 50368,
    "hidden_size": 1024,
    "intermediate_size": 2624,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "max_position_embeddings": 8192,
    "local_attention": 128,
    "global_attn_every_n_layers": 3,
}
_DEBERTA_V3_LARGE = {
    "model_type": "deberta-v2",
    "vocab_size": 128100,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "max_position_embeddings": 512,
    "type_vocab_size": 0,
    "relative_attention": True,
    "max_relative_positions": -1,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "layer_norm_eps": 1e-7,
    "pooler_hidden_size": 1024,
    "pooler_hidden_act": "gelu",
    "pooler_dropout": 0,
}
KNOWN: dict[str, dict[str, Any]] = {
    "google/gemma-2-9b": _GEMMA2_9B,
    "google/gemma-2-9b-it": _GEMMA2_9B,
    "google/gemma-3-270m": _GEMMA3_270M,
    "google/gemma-3-270m-it": _GEMMA3_270M,
    "models/gemma3_270m": _GEMMA3_270M,
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA3_8B,
    "Qwen/Qwen2.5-7B-Instruct": _QWEN25_7B,
    "Qwen/Qwen2.5-14B-Instruct": _QWEN25_14B,
    "Qwen/Qwen3-8B": _QWEN3_8B,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA31_8B,
    "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2": _LLAMA31_8B,
    "answerdotai/ModernBERT-large": _MODERNBERT_LARGE,
    "microsoft/deberta-v3-large": _DEBERTA_V3_LARGE,
}


def backbone_config(name: str) -> PretrainedConfig:
    """The configuration of a model directory, of a model that is known here, or, over the network, of a Hub id.

    Raises: ValueError, in one line, where there is none.
    """
    if not os.path.isdir(name) and name in KNOWN:
        fields = dict(KNOWN[name])
        return AutoConfig.for_model(fields.pop("model_type"), num_labels=1, **fields)
    try:
        return load_config(name, num_labels=1)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{name} is no model directory, no Hub id that can be reached, and not known here ({reason})"
        ) from error
