"""Weights that were quantised before they were published (GPTQ, AWQ, compressed-tensors, bitsandbytes), loaded as they are.

A checkpoint's `quantization_config` names its method, and Transformers' own loader of that method reads the weights. Here is
said what it needs: its packages, and which layers are whole. A score layer that a checkpoint does not have must not be built
of quantised weights. A method that nobody has tried is refused, and so is a second quantisation.

| method | read by | prediction | LoRA on it |
| --- | --- | --- | --- |
| `gptq`, `awq` | gptqmodel (GPTQ: and optimum) | as its kernels allow | yes, PEFT has layers for both |
| `compressed-tensors` | compressed-tensors | yes, on a CPU too | no: it rounds without a gradient |
| `bitsandbytes` | bitsandbytes | yes, on a CPU too | yes |

Sources: https://huggingface.co/docs/transformers/quantization/overview, https://huggingface.co/docs/peft/developer_guides/quantization.
"""

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from typing import Any

from reward_model.errors import EXTRAS, MissingExtraError, ModelError

# method: modules of the packages that its loader imports
PACKAGES = {
    "gptq": ("optimum", "gptqmodel"),
    "awq": ("gptqmodel",),
    "compressed-tensors": ("compressed_tensors",),
    "bitsandbytes": ("bitsandbytes",),
}
# Bytes a parameter that bitsandbytes has packed. NF4 has a float32 scale a block of 64; double quantisation makes that 8
# bits, and a float32 a block of 256 of those.
NF4, NF4_DOUBLE, INT8 = 0.5 + 4 / 64, 0.5 + 1 / 64 + 4 / (64 * 256), 1.0
# method: the entry of its configuration that names layers to leave whole. GPTQ's loader touches the backbone's blocks only.
_WHOLE = {"awq": "modules_to_not_convert", "compressed-tensors": "ignore", "bitsandbytes": "llm_int8_skip_modules"}


def quantisation_method(config: Any) -> str | None:
    """How the checkpoint of a configuration is quantised, as it says itself; None for plain weights."""
    said = _said(config)
    if said is None:
        return None
    # bitsandbytes did not write a method at first.
    older = "bitsandbytes" if said.get("load_in_4bit") or said.get("load_in_8bit") else "unknown"
    method = said.get("quant_method") or older
    return str(getattr(method, "value", method))  # a name in files, an enumeration's in loaded models


def packed_bytes(config: Any, inputs: int, outputs: int) -> float | None:
    """Bytes in memory of one linear layer's weight, [outputs, inputs]; None where it is not packed.

    GPTQ and AWQ keep a float16 scale and a zero of as many bits as a weight for each group of inputs; GPTQ also which group
    an input is in (int32). compressed-tensors is unpacked while it is loaded (`unpack`).
    Sources: Frantar et al. 2023 (arXiv:2210.17323); Lin et al. 2024 (arXiv:2306.00978); GPTQModel's QuantLinear.
    """
    method, said = quantisation_method(config), _said(config)
    if method is None or said is None or method == "compressed-tensors":
        return None
    if method == "bitsandbytes":
        if said.get("load_in_8bit") or said.get("_load_in_8bit"):
            return INT8 * inputs * outputs
        double = said.get("bnb_4bit_use_double_quant")
        return (NF4_DOUBLE if double else NF4) * inputs * outputs
    bits = int(said.get("bits") or said.get("w_bit") or 4) / 8
    group = int(said.get("group_size") or said.get("q_group_size") or 128)
    groups = 1 if group < 1 else -(-inputs // group)
    return bits * inputs * outputs + groups * outputs * (2 + bits) + (4 * inputs if method == "gptq" else 0)


def keep_whole(config: Any, name: str, head: Sequence[str]) -> None:
    """Tells the loader of a quantised checkpoint to leave the score layer, and what leads up to it, whole.

    Args:
        config: of the checkpoint; changed in place.
        name: of the checkpoint, for errors.
        head: as `reward_model.model.score_layer.head_module_names` says.

    Raises: ModelError, one line, for a method that is not read here, and for a package that is missing.
    """
    method, said = quantisation_method(config), _said(config)
    if method is None or said is None:
        return
    if method not in PACKAGES:
        raise ModelError(f"{name}: weights are quantised by {method!r}; expected one of {', '.join(PACKAGES)}")
    for module in PACKAGES[method]:
        if importlib.util.find_spec(module) is None:
            assert module in EXTRAS
            raise ModelError(f"{name}: {MissingExtraError(module)}")
    if (entry := _WHOLE.get(method)) is not None:
        # compressed-tensors knows full names and regular expressions; the others know parents.
        whole = [rf"re:{part}($|\.)" for part in head] if method == "compressed-tensors" else list(head)
        said[entry] = [*(said.get(entry) or []), *whole]
    config.quantization_config = said


def check_trains(model: Any, name: str, *, adapters: bool) -> None:
    """Raises: ModelError for quantised weights that cannot be trained, or not like this. adapters: LoRA is trained."""
    method = quantisation_method(model.config)
    if method is None:
        return
    if not adapters:
        raise ModelError(f"{name}: weights quantised by {method} leave nothing to train but adapters; add --use_peft")
    if method == "compressed-tensors":
        raise ModelError(
            f"{name}: compressed-tensors rounds without a gradient, so its weights are for prediction only; "
            "train on the unquantised backbone"
        )


def unpack(model: Any) -> bool:
    """Makes weights of compressed-tensors floating-point numbers in memory, as its first pass would do anyway.

    Transformers 5.23 has no kernels for most of its formats. Rounded weights and activations stay as the checkpoint has
    them. Returns whether there were any.
    """
    if quantisation_method(model.config) != "compressed-tensors":
        return False
    with without_bars("compressed-tensors"):
        model.hf_quantizer.compressor.decompress_model(model)
    return True


def without_bars(method: str | None) -> contextlib.AbstractContextManager[object]:
    """Inside the block compressed-tensors, whose bars have no switch, writes nothing to the screen."""
    return contextlib.redirect_stderr(io.StringIO()) if method == "compressed-tensors" else contextlib.nullcontext()


def _said(config: Any) -> dict[str, Any] | None:
    said = getattr(config, "quantization_config", None)
    if said is None:
        return None
    return dict(said) if isinstance(said, dict) else dict(said.to_dict())
