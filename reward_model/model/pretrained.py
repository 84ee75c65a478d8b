"""Weights from disk or the Hub into a model: all of them, from safetensors, without running a repository's code.

Transformers draws a missing tensor at random and only warns, so a damaged file would give other numbers at each start. Here
a tensor of the backbone that is missing or left over is an error. Legitimately absent are a new head, and tensors of a head
that this model has not: a causal language model read as a classifier leaves its `lm_head` over.

Source: https://huggingface.co/docs/transformers/main_classes/model#transformers.PreTrainedModel.from_pretrained.
"""

import math
import os
import re
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.modeling_utils import set_quantized_state

from reward_model.errors import ModelError
from reward_model.hub_names import check_model_there
from reward_model.model.quantised import keep_whole, quantisation_method, without_bars
from reward_model.model.score_layer import head_module_names
from reward_model.quiet import quiet_transformers

# Numbers of a configuration: of layers, experts and heads; and of anything, positions included.
MOST_PARTS, MOST_ANYTHING = 100_000, 1 << 40
_COUNTS = re.compile(r"n_|num_|.*layers?$|.*depth$")
# Of a bare backbone whose last hidden states alone are read.
UNREAD = ("pooler",)
_SHOWN = 3
# A model has at most so many times the parameters that its files hold: tensors of a new head are not in them. Quantised
# weights are packed, up to eight in a number.
MOST_TIMES_STORED, MOST_PACKED = 4, 8
# Transformers changes its initialisers and PyTorch's default dtype, for the whole process, while it loads.
_loading = threading.Lock()
# Buffers that older versions saved and newer ones compute.
_COMPUTED = ("position_ids", "inv_freq", "masked_bias", "attn.bias")


def load_pretrained(kind: Any, name: str | os.PathLike[str], *, new: Collection[str] = (), **options: Any) -> Any:
    """A model with its weights.

    Args:
        kind: a class with Transformers' `from_pretrained`, such as AutoModelForSequenceClassification.
        name: directory or Hub id.
        new: names of modules that may lack weights, which are drawn at random then, and pass over weights left over.
        options: for `from_pretrained`.

    Returns: the model, and the names of the parameters that were drawn at random.

    Raises: ModelError for weights that are missing, left over, pickled or damaged; Transformers' own errors otherwise.
    """
    if os.path.isdir(name):
        check_weight_files(Path(name))
    revision = options.get("revision")
    config = load_config(name, **({"revision": revision} if revision else {}))
    if os.path.isdir(name):
        check_size(kind, config, Path(name))
    if (method := quantisation_method(config)) is not None:
        if "quantization_config" in options:
            raise ModelError(
                f"{name}: weights are quantised already ({method}); leave out --load_in_4bit and --load_in_8bit"
            )
        config.num_labels = options.pop("num_labels", config.num_labels)
        keep_whole(config, str(name), head_names(name, revision))
        options["config"] = config
    with _loading, quiet_transformers(), without_bars(method):
        model, loading = kind.from_pretrained(
            name,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, in one line
            trust_remote_code=False,
            use_safetensors=True,
            **options,
        )
    check_loaded(str(name), model, loading, new)
    return model, set(loading["missing_keys"])


def load_config(name: str | os.PathLike[str], **options: Any) -> Any:
    """A model's configuration; no code of its repository is run.

    Raises: ModelError for a folder that is not there, and for a number that no model has, of which a layer each would be
        built; Transformers' own errors.
    """
    check_model_there(name)
    config = AutoConfig.from_pretrained(name, trust_remote_code=False, **options)
    waiting = [("", config.to_dict())]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, int) and value > (MOST_PARTS if _COUNTS.match(key) else MOST_ANYTHING):
            raise ModelError(f"{name}: config.json: {key} is {str(value)[:30]}, more than any model has")
    if os.path.isdir(name):
        _check_layers(Path(name), config.get_text_config())
    return config


def check_size(kind: Any, config: Any, directory: Path) -> None:
    """Refuses a model that is far larger than the weights beside its configuration, before it takes any memory.

    Args:
        kind, config: of the model, as `load_pretrained` has them; its parameters are counted on the meta device.

    Raises: ModelError with both numbers; Transformers' own errors for a configuration that no model can be made of.
    """
    stored = sum(math.prod(shape) for shape in stored_shapes(directory))
    if quantisation_method(config) is not None:
        stored *= MOST_PACKED
    with torch.device("meta"), set_quantized_state():
        model = kind.from_config(config, trust_remote_code=False)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if stored and parameters > MOST_TIMES_STORED * stored:
        raise ModelError(
            f"{directory}: config.json asks for {parameters:,} parameters, and the weights hold {stored:,}; "
            "they do not belong together"
        )


def _check_layers(directory: Path, config: Any) -> None:
    """Raises: ModelError for more layers than the weights have tensors: to build them would take hours, even of nothing."""
    layers = getattr(config, "num_hidden_layers", None)
    if not isinstance(layers, int) or getattr(config, "num_hidden_groups", None):  # ALBERT's layers share their tensors
        return
    try:
        tensors = len(stored_shapes(directory))
    except (OSError, SafetensorError):
        return  # `check_weight_files` says so
    if layers > tensors > 0:
        raise ModelError(
            f"{directory}: config.json asks for {layers:,} layers, and the weights hold {tensors:,} tensors; "
            "they do not belong together"
        )


def stored_shapes(directory: Path) -> list[list[int]]:
    """Of all tensors in the model's safetensors files, read from their headers."""
    shapes = []
    for file in sorted(directory.glob("model*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            shapes += [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118  no mapping
    return shapes


def head_names(name: str | os.PathLike[str], revision: str | None = None) -> list[str]:
    """`head_module_names` of a one-label classifier of that backbone, from its configuration alone.

    Raises: Transformers' own errors for a configuration that cannot be read or has no such classifier.
    """
    config = load_config(name, num_labels=1, **({"revision": revision} if revision else {}))
    # Under ZeRO 3 Transformers 5.23 would shard and initialise what has no weights; quantised models it lets be.
    with torch.device("meta"), set_quantized_state():
        return head_module_names(AutoModelForSequenceClassification.from_config(config, trust_remote_code=False))


def check_loaded(name: str, model: nn.Module, loading: dict[str, Any], new: Collection[str]) -> None:
    """Raises: ModelError where a tensor of the model was missing from the file, or the file has more of its backbone.

    Args:
        loading: what Transformers tells with `output_loading_info`.
        new: as for `load_pretrained`.
    """
    prefix = str(getattr(model, "base_model_prefix", ""))
    backbone = getattr(model, prefix, model) if prefix else model
    parts = {child for child, module in backbone.named_children() if any(True for _ in module.parameters())}
    modules = {*new, *(module.removeprefix(f"{prefix}.") for module in new)}

    def is_new(key: str) -> bool:
        return any(f"{key}.".startswith(f"{module}.") for module in modules)

    def is_of_backbone(key: str) -> bool:
        inside = key.removeprefix(f"{prefix}.")
        return inside.partition(".")[0] in parts and not key.endswith(_COMPUTED)

    missing = [key for key in loading["missing_keys"] if not is_new(key) and not key.endswith(_COMPUTED)]
    left_over = [key for key in loading["unexpected_keys"] if is_of_backbone(key) and not is_new(key)]
    mismatched = [f"{key}: {list(file)}, not {list(model)}" for key, file, model in loading["mismatched_keys"]]
    check_keys(name, missing, left_over, mismatched)


def check_keys(name: str, missing: Iterable[str], left_over: Iterable[str], mismatched: Iterable[str] = ()) -> None:
    """Raises: ModelError, one line, naming the first of each and how many there are."""
    wrong = [("lack", missing), ("have beyond the model's", left_over), ("have in another shape", mismatched)]
    said = [
        f"{what} {len(keys)} tensor{'s' if len(keys) > 1 else ''} ({', '.join(keys[:_SHOWN])}"
        f"{', …' if len(keys) > _SHOWN else ''})"
        for what, unsorted in wrong
        if (keys := sorted(unsorted))
    ]
    if said:
        raise ModelError(f"{name}: the weights {' and '.join(said)}; they and the configuration do not belong together")


def check_weight_files(directory: Path) -> None:
    """Raises: ModelError where a directory has pickled weights only, or a safetensors file that cannot be read."""
    files = sorted(directory.glob("model*.safetensors"))
    if not files and (pickled := sorted([*directory.glob("*.bin"), *directory.glob("*.pt"), *directory.glob("*.pth")])):
        raise ModelError(
            f"{directory}: {pickled[0].name} is a pickle, which is not read; convert it where it is trusted: load the model "
            "with Transformers and save it with save_pretrained, which writes model.safetensors"
        )
    for file in files:
        check_safetensors(file)


def check_safetensors(file: Path) -> None:
    """Raises: ModelError for a file that is empty, cut short, damaged or unreadable."""
    try:
        with safe_open(file, framework="np") as tensors:
            if not tensors.keys():
                raise ModelError(f"{file}: holds no tensors")
    except (OSError, SafetensorError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ModelError(f"{file}: cannot be read ({reason}); copy it anew, or train again") from error
