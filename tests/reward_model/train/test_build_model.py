"""Where a loaded model's score layer starts: from a checkpoint's own, or from nothing."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, LlamaConfig, PreTrainedConfig, RobertaConfig
from trl import ModelConfig

from reward_model.model.score_layer import find_score_layer, head_module_names
from reward_model.tokens.tokenizer import prepare_tokenizer
from reward_model.train.build_model import load_model
from tests.helpers.tiny_models import SIZES, byte_tokenizer

TOKENIZER = prepare_tokenizer(byte_tokenizer())
CONFIGS = [kind(vocab_size=len(TOKENIZER), **SIZES) for kind in (LlamaConfig, BertConfig, RobertaConfig)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
@pytest.mark.parametrize("has_head", [False, True])
def test_a_head_that_is_there_is_kept_and_another_starts_at_zero(
    config: PreTrainedConfig, has_head: bool, tmp_path: Path
) -> None:
    config.initializer_range = 0.5
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    saved = model if has_head else getattr(model, model.base_model_prefix)
    saved.save_pretrained(tmp_path)

    loaded = load_model(ModelConfig(model_name_or_path=str(tmp_path)), TOKENIZER, style_features=2, tie_bias=-0.3)
    layer = find_score_layer(loaded)
    assert not layer.tie.weight.any()
    if has_head:
        assert torch.equal(layer.weight, model.get_submodule(layer.stock_name).weight)
    with torch.no_grad():
        found = loaded(torch.tensor([[5, 6, 7], [8, 9, 5]]))
    assert bool(found.logits[:, 0].any()) == has_head
    torch.testing.assert_close(found.logits[:, 1], torch.full((2,), -0.3))

    # Only the last layer is 0: what leads up to it must be able to learn.
    names = head_module_names(loaded)
    inner = [
        p
        for name, p in loaded.named_parameters()
        if name.startswith(tuple(names)) and not name.startswith(layer.stock_name)
    ]
    assert all(bool(parameter.any()) for parameter in inner if parameter.ndim == 2)
