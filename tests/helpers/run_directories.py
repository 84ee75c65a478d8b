"""Small complete run directories with random weights, for tests of whatever reads one."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

from arena_data.style.features import RESPONSE_FEATURES
from reward_model.calibration.calibration import Calibration
from reward_model.model.backbone import set_pad_token
from reward_model.model.score_layer import find_score_layer, head_module_names, install_score_layer, score_module_name
from reward_model.model.style_head import StyleHead
from reward_model.run_directory.settings import RewardModelConfig
from reward_model.run_directory.writing import write_run
from reward_model.tokens.tokenizer import prepare_tokenizer
from tests.helpers.tiny_models import SIZES, byte_tokenizer, tiny_llama

PRIOR = [0.35, 0.33, 0.32]
LARGER: dict[str, Any] = {"intermediate_size": 128, "max_position_embeddings": 2048, "initializer_range": 0.2}


def style_head(seed: int = 0) -> StyleHead:
    count = len(RESPONSE_FEATURES)
    random = np.random.default_rng(seed)

    def some(size: int, scale: float = 0.1) -> np.ndarray:
        return (scale * random.standard_normal(size)).astype(np.float32)

    return StyleHead(
        features=RESPONSE_FEATURES,
        style_reward=some(count),
        style_tie=some(count),
        style_similarity=some(1),
        side_mean=some(count, 1.0),
        side_scale=np.ones(count, dtype=np.float32),
        pair_mean=some(count + 1, 1.0),
        pair_scale=np.ones(count + 1, dtype=np.float32),
    )


def make_run(
    folder: Path,
    *,
    kind: str = "llama",
    model_type: str = "full",
    encoding: str = "separate",
    tie_link: str = "davidson",
    outcomes: str = "three",
    show_models: bool = False,
    style: bool = True,
    max_length: int = 300,
    calibration: Calibration | None = None,
    seed: int = 0,
) -> Path:
    """Writes a run directory that `predict.py` takes; an adapter's backbone goes beside it, to `<folder>-backbone`.

    Args:
        kind: `llama` or `bert`.
        model_type: `full` or `adapter`.
    """
    tokenizer = prepare_tokenizer(byte_tokenizer(encoder=kind == "bert"))
    model: Any
    if kind == "bert":
        torch.manual_seed(seed)
        model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **SIZES | LARGER))
    else:
        model = tiny_llama(tokenizer, seed=seed, **LARGER)
    backbone = folder.with_name(f"{folder.name}-backbone")
    if model_type == "adapter":
        model.save_pretrained(backbone)
        tokenizer.save_pretrained(backbone)
    head = style_head(seed) if style else None
    zero = 0.4 if outcomes == "four" else None
    install_score_layer(model, style_features=len(RESPONSE_FEATURES) if style else 0, tie_bias=-0.3, zero=zero)
    set_pad_token(model, tokenizer)
    score_module = score_module_name(model)
    if model_type == "adapter":
        config = LoraConfig(
            r=2,
            lora_alpha=4,
            init_lora_weights=False,
            task_type="SEQ_CLS",
            target_modules="all-linear",
            modules_to_save=head_module_names(model),
        )
        model = get_peft_model(model, config)
        model.peft_config["default"].base_model_name_or_path = str(backbone)
    with torch.no_grad():
        layer = find_score_layer(model)
        layer.weight.normal_(std=0.3)
        layer.tie.weight.normal_(std=0.1)
        if head is not None:
            assert layer.style_reward is not None and layer.style_tie is not None
            assert layer.style_similarity is not None
            layer.style_reward.copy_(torch.from_numpy(head.style_reward))
            layer.style_tie.copy_(torch.from_numpy(head.style_tie))
            layer.style_similarity.copy_(torch.from_numpy(head.style_similarity))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = RewardModelConfig(
        encoding=encoding,
        tie_link=tie_link,
        outcomes=outcomes,
        show_models=show_models,
        max_length=max_length,
        base_model=str(backbone) if model_type == "adapter" else "tiny",
        model_type=model_type,
        score_module=score_module,
        style=style,
    )
    write_run(folder, settings, head, calibration or Calibration(), {"log_loss": 1.09, "prior": PRIOR}, [])
    return folder
