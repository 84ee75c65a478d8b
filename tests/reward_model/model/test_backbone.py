"""How long texts may be that a model of these positions reads."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, DebertaV2Config, LlamaConfig, Qwen2Config

from reward_model.errors import ModelError
from reward_model.model.backbone import check_extension

SIZES: dict[str, Any] = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
SIZES |= {"num_attention_heads": 2, "max_position_embeddings": 64}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("config", "max_length", "trained", "allowed"),
    [
        (LlamaConfig(**SIZES), 64, 32, True),
        (LlamaConfig(**SIZES), 65, 32, False),
        (LlamaConfig(**SIZES), 80, 80, True),  # it was trained like that
        (LlamaConfig(**SIZES), 81, 80, False),
        (Qwen2Config(**SIZES, num_key_value_heads=1, rope_parameters=YARN), 256, 64, True),
        (Qwen2Config(**SIZES, num_key_value_heads=1, rope_parameters=YARN), 257, 64, False),
        (DebertaV2Config(**SIZES, relative_attention=True, position_biased_input=False), 512, 64, True),
    ],
)
def test_positions_end_where_rotation_was_trained_to(config: Any, max_length: int, trained: int, allowed: bool) -> None:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    if allowed:
        check_extension(model, max_length, trained)
        return
    with pytest.raises(ModelError, match=f"max_length is {max_length}, but the model has "):
        check_extension(model, max_length, trained)
