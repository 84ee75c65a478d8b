"""A run as a plain reward model: `arena-reward export runs/minilm`, for TRL, RewardBench, vLLM, any stock code.

The adapter is added to the backbone, the style head is closed (its door: the reward is what is left when length and format
have been explained), and ties are left out: a stock `AutoModelForSequenceClassification` with one label, whose logit is the
reward of a conversation. Its tokenizer's chat template writes a conversation as training read it, special tokens included,
so that stock code that applies the template and tokenises without special tokens gives the model what it knows.

Stock pooling takes the last token that is not the pad token, whatever the attention mask says: where a conversation ends in
the pad token, another token is made the pad token. The export is loaded as a stranger would and must agree with the adapter
on real battles, else nothing is written. Of a frozen judge `reward_model.publish.frozen_export` makes such a model.

Source: https://huggingface.co/docs/trl/grpo_trainer#passing-both-vllm-and-custom-reward-functions for how TRL reads it.
"""

import gc
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from arena_data.errors import InputError
from arena_data.file_io import check_output_folder, make_readable, write_atomically, write_json
from arena_data.loading import load_battles
from arena_data.transcripts.rendering import conversation, plain_text
from reward_model.api import RewardModel
from reward_model.baselines.base import is_baseline, open_baseline
from reward_model.errors import ModelError
from reward_model.model.backbone import dtype_named, set_pad_token
from reward_model.model.score_layer import find_score_layer
from reward_model.predict.stock_rewards import stock_rewards
from reward_model.pretrained.judges import judge_folder
from reward_model.publish.chat_template import export_template, plain_export_template
from reward_model.publish.frozen_export import check_frozen, stock_model
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.model_card import shown_name
from reward_model.run_directory.reading import RunDirectory, is_complete, read_run
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import encoding_named
from reward_model.tokens.tokenizer import load_tokenizer

SAMPLE = Path(str(files("arena_data"))) / "sample.csv"
CHECK = "export.json"
# Of the difference between the margins of export and adapter, root mean square, as a share of the margins' spread.
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
_BATCH = 8


@dataclass(frozen=True)
class Agreement:
    """How an export agrees with its adapter.

    Args:
        battles: how many were read; those that fit into max_length.
        dtype: of the export.
        difference: root mean square difference of the margins, as a share of their spread.
        tolerance: the most that is allowed.
        largest: the largest difference of a margin.
        turned: battles whose better response is another.
    """

    battles: int
    dtype: str
    difference: float
    tolerance: float
    largest: float
    turned: int


def export(
    directory: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    base_model: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
    battles: datasets.Dataset | None = None,
) -> Agreement:
    """Writes the export, whole or not at all.

    Args:
        directory: a complete run directory, separate encoding; or a frozen baseline, `arena-minilm` among them.
        output: the directory to make.
        base_model: of the backbone, in the place of the one that the run names.
        dtype: float32, bfloat16 or float16; the score layer is stored in it too.
        device: that checks it.
        battles: that it is checked on; 64 of the sample if None.

    Raises: InputError or ModelError, one line, also where the export does not agree with the adapter.
    """
    target = Path(output)
    source = _source(directory, target, base_model)
    dtype_named(dtype)
    fitting = _fitting(source, battles if battles is not None else load_battles(SAMPLE).select(range(64)))
    reference = RewardModel.from_pretrained(source.folder, base_model=base_model, device=device, dtype="float32")
    prompts, sides = list(fitting["prompt"]), [list(fitting[f"response_{side}"]) for side in "ab"]
    expected = np.stack([reference.reward(prompts, responses) for responses in sides])
    del reference
    gc.collect()

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        made = Path(temporary) / "made"
        stock = source.model()
        _save(stock, made, source.max_length, dtype)
        found = np.stack([stock_rewards(made, prompts, responses, device) for responses in sides])
        agreement = _agreement(expected[0] - expected[1], found[0] - found[1], dtype)
        if not agreement.difference <= agreement.tolerance:
            raise ModelError(
                f"the export's margins differ from the adapter's by {agreement.difference:.2g} of their spread, more than "
                f"{agreement.tolerance:g}; nothing was written{'' if dtype == 'float32' else ', try --dtype float32'}"
            )
        write_json(made / CHECK, asdict(agreement))
        write_atomically(made / "README.md", _card(source, agreement, stock.threshold))
        make_readable(made.iterdir(), like=made / CHECK)
        if target.exists():
            target.rename(Path(temporary) / "replaced")
        made.rename(target)
    return agreement


@dataclass(frozen=True)
class _Source:
    """What is exported.

    Args:
        folder: of the run or the judge.
        tokenizer: directory of the tokenizer.
        base_model: directory or Hub id of the backbone.
        max_length: tokens of a conversation.
        model: loads the stock model and its tokenizer, on the CPU, in float32.
    """

    folder: Path
    tokenizer: str
    base_model: str
    max_length: int
    model: "Callable[[], _Stock]"


def _source(directory: str | os.PathLike[str], target: Path, base_model: str | None) -> _Source:
    folder = judge_folder(directory) or Path(directory)
    if is_baseline(folder):
        baseline = check_frozen(open_baseline(folder, base_model).baseline, folder)
        name = baseline.embedder.name
        check_output_folder(target, folder, name, own=CHECK)
        return _Source(
            folder, name, name, baseline.max_length, lambda: _Stock(stock_model(baseline), load_tokenizer(name))
        )
    run = _checked(directory, target, base_model)
    base, length = base_model or run.config.base_model, run.config.max_length
    return _Source(run.directory, str(run.directory), base, length, lambda: _merged(run, base_model))


def _checked(directory: str | os.PathLike[str], target: Path, base_model: str | None) -> RunDirectory:
    run = read_run(directory)
    if not is_complete(directory):
        raise InputError("not a complete run", file=run.directory, expected="weights, tokenizer and settings")
    if not encoding_named(run.config.encoding).scores_responses:
        raise InputError(
            f"a {run.config.encoding} encoding has no reward of one response to export", file=run.directory
        )
    check_output_folder(target, run.directory, base_model or run.config.base_model, own=CHECK)
    return run


def _fitting(source: _Source, battles: datasets.Dataset) -> datasets.Dataset:
    """The battles that are read whole: stock code would cut the others elsewhere."""
    encoder = BattleEncoder(load_tokenizer(source.tokenizer), source.max_length)
    cut = encoder(battles)["tokens_cut"]
    whole = [row for row, tokens in enumerate(cut) if not tokens]
    if len(whole) < 2:
        raise InputError("too few battles fit into max_length to check the export", found=len(whole))
    return battles.select(whole)


class _Stock(NamedTuple):
    """What is saved. threshold: the logit above which a response is usable; None without an absolute zero."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    threshold: float | None = None


def _merged(run: RunDirectory, base_model: str | None) -> _Stock:
    """The run's model with a stock score layer, and its tokenizer."""
    options = LoadOptions(
        base_model=base_model, dtype="float32", merge=run.config.model_type == "adapter", device="cpu"
    )
    loaded = load_run_model(run, options)
    model, tokenizer = loaded.model, loaded.tokenizer
    layer = find_score_layer(model)
    plain = nn.Linear(layer.in_features, 1, bias=layer.bias is not None)
    plain.load_state_dict({name: value for name, value in layer.state_dict().items() if name in ("weight", "bias")})
    threshold = None if layer.zero is None else float(layer.zero.detach())
    if threshold is not None and plain.bias is not None:
        # Where stock code has a bias it holds the absolute zero; elsewhere the card says where it lies.
        with torch.no_grad():
            plain.bias.sub_(threshold)
        threshold = 0.0
    name = next(name for name, module in model.named_modules() if module is layer)
    model.set_submodule(name, plain)
    return _Stock(model, tokenizer, threshold)


def _save(stock: _Stock, folder: Path, max_length: int, dtype: str) -> None:
    model, tokenizer, _ = stock
    write_template(tokenizer, max_length)
    set_pad_token(model, tokenizer)
    model.config.num_labels = 1
    model.config.problem_type = None
    for key in ("_name_or_path", "quantization_config"):
        model.config.__dict__.pop(key, None)
    model.to(dtype_named(dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_template(tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    """Gives the tokenizer a template that writes what training read, and a pad token that no conversation ends in."""
    if not tokenizer.chat_template:
        hello = ["Hello."]
        [ids], _ = BattleEncoder(tokenizer, max_length).encode_rows([(hello, hello, hello)])
        bare = tokenizer(plain_text(conversation(hello, hello)), add_special_tokens=False)["input_ids"]
        start = next(place for place in range(len(ids)) if ids[place : place + len(bare)] == bare)
        first, last = (
            "".join(tokenizer.convert_ids_to_tokens(part)) for part in (ids[:start], ids[start + len(bare) :])
        )
        tokenizer.chat_template = plain_export_template(first, last)
    else:
        tokenizer.chat_template = export_template(tokenizer.get_chat_template())
    messages = conversation(["Hello."], ["Hello."])
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    last_id = tokenizer(text, add_special_tokens=False)["input_ids"][-1]
    if last_id == tokenizer.pad_token_id:
        avoided = {last_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
        free = [token for number, token in sorted(tokenizer.added_tokens_decoder.items()) if number not in avoided]
        if not free:
            raise ModelError(
                "conversations end in the pad token, which stock pooling skips, and no other token is free"
            )
        tokenizer.pad_token = free[-1].content
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = max_length


def _agreement(expected: Any, found: Any, dtype: str) -> Agreement:
    spread = float(np.std(expected)) or 1.0
    return Agreement(
        battles=len(expected),
        dtype=dtype,
        difference=float(np.sqrt(np.mean((found - expected) ** 2))) / spread,
        tolerance=TOLERANCES[dtype],
        largest=float(np.abs(found - expected).max()),
        turned=int((found * expected < 0).sum()),
    )


def _card(source: _Source, agreement: Agreement, threshold: float | None) -> str:
    above = (
        "compare it between responses to the same prompt only"
        if threshold is None
        else f"a response is likelier usable than not where it is above {threshold:.6g}"
    )
    base = shown_name(source.base_model)
    return f"""---
base_model: {base!r}
library_name: transformers
pipeline_tag: text-classification
tags: [reward-model]
---

# Reward model, merged, one label

The logit is the reward of a conversation; {above}. {agreement.dtype}, at most
{source.max_length} tokens. What style explains of people's votes is left out. On {agreement.battles} battles its margins
differ from the adapter's by {agreement.difference:.2g} of their spread (root mean square).

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(export).eval()
tokenizer = AutoTokenizer.from_pretrained(export)
messages = [{{"role": "user", "content": "What is 2 + 2?"}}, {{"role": "assistant", "content": "4."}}]
text = tokenizer.apply_chat_template(messages, tokenize=False)
reward = model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits[0, 0]
```

In TRL: `GRPOTrainer(model=policy, reward_funcs=export, train_dataset=conversational_prompts)`.
"""
