"""A run directory to a model that scores: backbone, adapter, score layer, on the device, in the device's quickest dtype.

An adapter is used as it lies, or merged: then the sum of weights is made in float32, and the merged model must give the
same scores as the unmerged one on a sample of battles (`check_merge`). The score layer is loaded last, from the run's own
file, because Transformers and PEFT only warn where part of it is missing.

Sources: https://huggingface.co/docs/peft/developer_guides/model_merging,
https://huggingface.co/docs/transformers/quantization/bitsandbytes.
"""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig, PreTrainedTokenizerBase

from arena_data.errors import InputError
from reward_model.errors import ModelError, one_line
from reward_model.model.backbone import dtype_named, fastest_dtype, set_pad_token
from reward_model.model.device import check_on_gpus, check_several_gpus, compute_on, named_device
from reward_model.model.pretrained import head_names, load_config, load_pretrained
from reward_model.model.quantised import quantisation_method, unpack
from reward_model.model.score_layer import install_score_layer, last_positions, score_inputs
from reward_model.run_directory.adapter import check_adapter, with_adapter
from reward_model.run_directory.load_score import load_score
from reward_model.run_directory.reading import RunDirectory
from reward_model.tokens.tokenizer import load_tokenizer

MERGE_TOLERANCE = 1e-3  # of value and tie strength, in float32: about 3e-4 of a probability


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded.

    Args:
        base_model: directory or Hub id of the backbone, in the place of the one that the run names.
        dtype: `auto`, float32, bfloat16 or float16.
        load_in_4bit, load_in_8bit: quantise the backbone with bitsandbytes.
        merge: add the adapter to the backbone's weights.
        device: such as `cpu` or `cuda:1`; None takes the first accelerator.
        attn_implementation: Transformers' choice if None.
        device_map: `balanced` spreads the model over all GPUs; None puts it on one device.

    Raises: ModelError for options that do not go together, and for a device that is not on this machine.
    """

    base_model: str | None = None
    dtype: str = "auto"
    load_in_4bit: bool = False
    load_in_8bit: bool = False
    merge: bool = False
    device: str | None = None
    attn_implementation: str | None = None
    device_map: str | None = None

    def __post_init__(self) -> None:
        if self.load_in_4bit and self.load_in_8bit:
            raise ModelError("load_in_4bit and load_in_8bit exclude each other; choose one")
        if self.merge and (self.load_in_4bit or self.load_in_8bit):
            raise ModelError(
                "an adapter is merged in full precision; leave out --merge, or load_in_4bit and load_in_8bit"
            )
        if self.device_map is not None:
            self._check_device_map()
        named_device(self.device)  # refused at once, not after minutes of other work

    def _check_device_map(self) -> None:
        if self.device_map != "balanced":
            raise ModelError(f"device_map is {self.device_map!r}; expected balanced")
        for flag, given in (("--device", self.device), ("--merge", self.merge)):
            if given:
                raise ModelError(
                    f"device_map spreads a model over all GPUs, and {flag} needs it on one device; choose one"
                )
        check_several_gpus()

    def torch_device(self) -> torch.device:
        """Raises: ModelError for a device that is not on this machine."""
        return named_device(self.device)

    def torch_dtype(self) -> torch.dtype:
        return fastest_dtype(self.torch_device()) if self.dtype == "auto" else dtype_named(self.dtype)


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, its tokenizer, and where and in what dtype it computes."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype


def load_run_model(run: RunDirectory, options: LoadOptions) -> LoadedModel:
    """Raises: ModelError, one line, for a backbone that is not there, or files that do not belong together."""
    device, dtype = options.torch_device(), options.torch_dtype()
    compute_on(device)
    tokenizer = load_tokenizer(str(run.directory))
    is_adapter = run.config.model_type == "adapter"
    bits = options.load_in_4bit or options.load_in_8bit
    source = backbone_of(run, options.base_model) if is_adapter else str(run.directory)
    settings: dict[str, Any] = {
        "num_labels": 1,
        "dtype": torch.float32 if options.merge else dtype,
        "revision": run.config.base_model_revision if is_adapter and not options.base_model else None,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if options.attn_implementation:
        settings["attn_implementation"] = options.attn_implementation
    try:
        if is_adapter:
            check_adapter(run.directory)
        head = head_names(source, settings.get("revision"))
        method = quantisation_method(load_config(source, **_revision(settings)))
        if method is not None and options.merge:
            raise ModelError(
                f"{source}: an adapter is not merged into weights quantised by {method}; leave out --merge"
            )
        if method == "compressed-tensors" and options.device_map is not None:
            raise ModelError(
                f"{source}: weights of compressed-tensors are unpacked on one device; leave out --device_map"
            )
        settings |= _placement(device, options, quantised=bits or method is not None)
        if bits:
            settings |= _quantised(options, dtype, head)
        # An adapter brings its own head.
        new = head if is_adapter else ()
        model, _ = load_pretrained(AutoModelForSequenceClassification, source, new=new, **settings)
        if options.device_map is not None:
            check_on_gpus(model)
        unpack(model)
        install_score_layer(
            model,
            style_features=len(run.style.features) if run.style else 0,
            tie_bias=0.0,
            sources=len(run.config.sources),
            grade_levels=run.config.grade_levels,
            zero=0.0 if run.config.outcomes == "four" else None,
        )
        set_pad_token(model, tokenizer)
        if is_adapter:
            model = with_adapter(model, run.directory)
        load_score(model, run.directory)
    except ModelError:
        raise
    except InputError:
        raise
    except Exception as error:  # each library has its own way of refusing a broken file
        raise ModelError(f"{source}: cannot be loaded ({one_line(error)})") from error
    model.eval()
    if options.merge and is_adapter:
        model = merged(model, tokenizer)
    if bits or method is not None:
        # PEFT 0.21 makes adapters float32, and every input of theirs with them; what is quantised stays as it is.
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.to(dtype)
    elif options.device_map is not None:
        model = model.to(dtype=dtype)
    else:
        model = model.to(device=device, dtype=dtype)
    return LoadedModel(model, tokenizer, device, dtype)


def backbone_of(run: RunDirectory, override: str | None) -> str:
    """Where the adapter's backbone is: the override, else what training named, as it is or beside the run.

    Raises: ModelError for a path that is not there, naming where it was looked for, or a Hub id when offline.
    """
    named = override or run.config.base_model
    if os.path.isdir(named):
        return named
    looks_local = override is not None or named.startswith((".", "/", "~")) or named.count("/") != 1
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    if not looks_local and not (offline and not _in_hub_cache(named)):
        return named
    if override is not None and named.count("/") == 1 and not offline:
        return named
    raise ModelError(
        f"the backbone {named!r} of {run.directory} is not on this disk (looked in {os.path.abspath(named)}"
        f"{' and in the Hub cache' if not looks_local else ''}); name its directory with --base_model"
    )


def _in_hub_cache(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _placement(device: torch.device, options: LoadOptions, *, quantised: bool) -> dict[str, Any]:
    """Weights straight to a GPU: in main memory those of an 8B model are 16 GB, in every process. They are merged there.

    Transformers does that with accelerate alone. Quantised weights cannot be moved later, wherever they go.
    """
    if options.device_map is not None:
        return {"device_map": options.device_map}
    straight = device.type == "cuda" and not options.merge and importlib.util.find_spec("accelerate") is not None
    return {"device_map": {"": device}} if straight or quantised else {}


def _revision(settings: dict[str, Any]) -> dict[str, Any]:
    return {"revision": settings["revision"]} if "revision" in settings else {}


def _quantised(options: LoadOptions, dtype: torch.dtype, skipped: Sequence[str]) -> dict[str, Any]:
    """4 bits as in QLoRA (NF4, double quantisation), 8 as in LLM.int8; the modules to be skipped are never quantised."""
    quantization = BitsAndBytesConfig(
        load_in_4bit=options.load_in_4bit,
        load_in_8bit=options.load_in_8bit,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(skipped),
    )
    return {"quantization_config": quantization}


def merged(model: Any, tokenizer: PreTrainedTokenizerBase) -> Any:
    """The model with its adapter added to the backbone's weights.

    Raises: ModelError where the scores of 32 invented texts differ from the unmerged model's by more than
        `MERGE_TOLERANCE`.
    """
    texts = [f"User:\nWhat is {n} times {n + 1}?\n\nAssistant:\n{'It is ' * (n % 7)}{n * n + n}." for n in range(32)]
    before = plain_scores(model, tokenizer, texts)
    plain = model.merge_and_unload(safe_merge=True)
    difference = float((plain_scores(plain, tokenizer, texts) - before).abs().max())
    if not difference <= MERGE_TOLERANCE:
        raise ModelError(
            f"merging the adapter moves scores by {difference:.2g} (at most {MERGE_TOLERANCE:g} is allowed); "
            "leave out --merge"
        )
    return plain


@torch.no_grad()
def plain_scores(model: Any, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> torch.Tensor:
    """float32 [texts, 2]: value and tie strength, each text read by itself."""
    scores = []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with score_inputs(model, positions=last_positions(torch.ones_like(ids))):
            scores.append(model(input_ids=ids).logits[0].float())
    return torch.stack(scores)
