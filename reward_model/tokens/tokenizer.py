"""Loads a tokenizer that truncation can work with: a fast one, with a padding token, that adds nothing by itself.

Source: https://huggingface.co/docs/transformers/main_classes/tokenizer."""

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from reward_model.errors import ModelError, one_line


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer with a pad token and padding on the right, as batches are made here.

    Raises: ValueError for a tokenizer with neither a pad token nor one that can serve as it.
    """
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError(
                "the tokenizer has neither a pad token nor an EOS token; set one in its tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Raises: ModelError where there is none, it is not a fast one, or it can have no pad token."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
        if not tokenizer.is_fast:
            raise ModelError(f"{name}: the tokenizer has no fast version, which truncation needs; choose another model")
        return prepare_tokenizer(tokenizer)
    except ModelError:
        raise
    except Exception as error:  # the tokenizers library raises plain ones
        raise ModelError(f"{name}: no tokenizer ({one_line(error)})") from error
