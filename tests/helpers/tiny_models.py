"""Small models with random weights, for tests that need a backbone and not a good one."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from tests.helpers.made_battles import WORDS

# Large enough for a block of 4-bit weights.
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "num_labels": 1,
}


def byte_tokenizer(*, encoder: bool = False) -> PreTrainedTokenizerFast:
    """A fast tokenizer whose tokens are bytes; an encoder's frames a text with [CLS] and [SEP]."""
    tokens = ["<pad>", "<eos>", "[CLS]", "[SEP]", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(tokens)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if not encoder:
        return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", cls_token="[CLS]", sep_token="[SEP]")


def tiny_llama(tokenizer: Any, *, seed: int = 0, **sizes: Any) -> LlamaForSequenceClassification:
    """A Llama with one label, the same for the same seed. sizes: fields of its configuration, in the place of `SIZES`."""
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(LlamaConfig(vocab_size=len(tokenizer), **SIZES | sizes))


def write_stock_llama(
    folder: Path,
    *,
    template: str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}",
    pad: str | None = "<pad>",
) -> Path:
    """A one-label reward model as strangers publish one, with a chat template; returns the folder."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template, tokenizer.pad_token = template, pad
    tokenizer.save_pretrained(folder)
    model = tiny_llama(tokenizer, max_position_embeddings=2048, initializer_range=0.2)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    return folder


def write_backbone(folder: Path, **sizes: Any) -> Path:
    """A model directory of such a Llama and its tokenizer; returns the folder."""
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(folder)
    tiny_llama(tokenizer, **sizes).save_pretrained(folder)
    return folder


def save_tiny_bert(folder: Path) -> str:
    """A BERT of two layers and random weights, whose words are those of the made-up battles."""
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "splendid", "dreadful", "#", "User", "Response", "A", "B", ":"]
    known += ["Assistant", "Question", "Better", "response", "tie"]
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(known)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    torch.manual_seed(0)
    sizes: Any = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(known), max_position_embeddings=160, **sizes)).save_pretrained(folder)
    return str(folder)
