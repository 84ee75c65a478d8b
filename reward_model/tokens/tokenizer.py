"""Loads a tokenizer that truncation can work with: a fast one, with a padding token, that adds nothing by itself.

Some chat templates write today's date. A model would then read another text tomorrow than in training. So the date is
fixed in the template, which the run stores: `FIXED_DATE`, the one that Llama 3's template falls back to.

Source: https://huggingface.co/docs/transformers/main_classes/tokenizer."""

import ast
import re
from datetime import datetime

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from reward_model.errors import ModelError, one_line
from reward_model.hub_names import check_model_there
from reward_model.tokens.bounded_templates import bound_templates

FIXED_DATE = datetime(2024, 7, 26)
_DATE_CALL = re.compile(r"""strftime_now\(\s*("[^"]*"|'[^']*')\s*\)""")


def fixed_date_template(template: str) -> str:
    """A chat template in which each call of `strftime_now` has become the text that it gives on `FIXED_DATE`.

    Raises: ValueError for a call whose format is no plain text.
    """
    fixed = _DATE_CALL.sub(lambda call: repr(FIXED_DATE.strftime(ast.literal_eval(call[1]))), template)
    if re.search(r"strftime_now\s*\(", fixed):
        raise ValueError(
            "the chat template writes today's date in a way that cannot be fixed; edit chat_template.jinja"
        )
    return fixed


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer with a pad token, padding on the right and a fixed date, as batches are made here.

    Raises: ValueError for a tokenizer with neither a pad token nor one that can serve as it, or with a date that cannot be
        fixed.
    """
    templates = tokenizer.chat_template
    if isinstance(templates, dict):
        tokenizer.chat_template = {name: fixed_date_template(template) for name, template in templates.items()}
    elif templates:
        tokenizer.chat_template = fixed_date_template(templates)
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
    check_model_there(name)
    bound_templates()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
        if not tokenizer.is_fast:
            raise ModelError(f"{name}: the tokenizer has no fast version, which truncation needs; choose another model")
        prepared = prepare_tokenizer(tokenizer)
        prepared("Hello.")  # some settings show only now that they make no sense
        return prepared
    except ModelError:
        raise
    except Exception as error:  # the tokenizers library raises plain ones
        raise ModelError(f"{name}: no tokenizer ({one_line(error)})") from error
