"""The reward of a frozen judge as a stock BERT with one label: the regression folded into the layers that stock code reads.

Stock code pools the first token, through a dense layer and tanh; the judge reads the mean over tokens, normalised. So one
layer is added whose attention does nothing but average:

    added layer    queries and keys are 0, so each token attends to all alike; values are the states; the output is the mean
                   times a large number, beside which the first token's own state vanishes in the sum, and the layer norm
                   (gain 1, bias 0) makes of it the normalised mean; its feed-forward part is 0
    pooler         a small number times the vector, where tanh is a straight line
    score layer    the regression's weights of the vector, divided by the spread of training and by that small number

What style explains of a margin is left out, and so is a bound of the regression: it cuts what lies eight standard deviations
out, which hardly occurs.

Source: Devlin et al. (2019), "BERT", section 3, whose `BertForSequenceClassification` Transformers has.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, BertConfig, BertForSequenceClassification

from arena_data.errors import InputError
from reward_model.baselines.regression.frozen import NORMALIZED, Frozen
from reward_model.model.pretrained import UNREAD, load_config, load_pretrained

# The mean's factor in the added layer, and the vector's before tanh.
_LARGE, _SMALL = 1e4, 1e-4


def check_frozen(baseline: Any, folder: Path) -> Frozen:
    """Raises: InputError, one line, for a baseline that cannot be written as a stock model."""
    if not isinstance(baseline, Frozen) or baseline.pooling != NORMALIZED or baseline.layer >= 0 or baseline.likelihood:
        raise InputError(
            "only a run, or a frozen baseline of normalized vectors of the last layer, can be exported", file=folder
        )
    if (kind := load_config(baseline.embedder.name).model_type) != "bert":
        raise InputError("a frozen baseline is exported with a BERT backbone only", file=folder, found=kind)
    return baseline


@torch.no_grad()
def stock_model(baseline: Frozen) -> BertForSequenceClassification:
    """float32, on the CPU. baseline: one that `check_frozen` lets pass."""
    backbone, _ = load_pretrained(AutoModel, baseline.embedder.name, new=UNREAD, dtype=torch.float32)
    config = BertConfig.from_dict(backbone.config.to_dict())
    config.num_hidden_layers += 1
    config.num_labels, config.problem_type = 1, None
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = config.classifier_dropout = 0.0
    model = BertForSequenceClassification(config).eval()
    model.bert.load_state_dict(backbone.state_dict(), strict=False)
    identity = torch.eye(config.hidden_size)
    added = model.bert.encoder.layer[-1]
    for parameter in added.parameters():
        parameter.zero_()
    added.attention.self.value.weight.copy_(identity)
    added.attention.output.dense.weight.copy_(_LARGE * identity)
    added.attention.output.LayerNorm.weight.fill_(1.0)
    added.output.LayerNorm.weight.fill_(1.0)
    model.bert.pooler.dense.weight.copy_(_SMALL * identity)
    model.bert.pooler.dense.bias.zero_()
    weights = torch.as_tensor(baseline.weights.odd[-config.hidden_size :] / baseline.side.spread)
    model.classifier.weight.copy_(weights[None] / _SMALL)
    model.classifier.bias.copy_(-(weights @ torch.as_tensor(baseline.side.mean, dtype=weights.dtype)))
    return model
