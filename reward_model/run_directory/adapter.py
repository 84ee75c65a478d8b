"""An adapter from a run directory onto its backbone: every tensor of it, or an error.

PEFT only warns where a tensor is missing, and leaves it as it was drawn. It reads pickled weights where there is no
safetensors file, and imports the module that a Megatron configuration names; both are refused.

Source: https://huggingface.co/docs/peft/developer_guides/checkpoint.
"""

from pathlib import Path
from typing import Any

from safetensors import safe_open

from arena_data.file_io import json_object, read_json
from reward_model.errors import ModelError, one_line
from reward_model.model.pretrained import check_keys, check_safetensors
from reward_model.model.score_layer import find_score_layer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def check_adapter(directory: Path) -> None:
    """Raises: InputError or ModelError for files of an adapter that are missing, damaged or not to be trusted."""
    config = read_json(directory / CONFIG, json_object)
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{directory / CONFIG}: peft_type is {config.get('peft_type')!r}; expected 'LORA'")
    if config.get("megatron_config") is not None:
        raise ModelError(f"{directory / CONFIG}: megatron_config is set, which would import a module; expected null")
    if not (directory / WEIGHTS).is_file():
        raise ModelError(
            f"{directory / WEIGHTS}: is missing; weights in other formats (adapter_model.bin) are not read"
        )
    check_safetensors(directory / WEIGHTS)


def with_adapter(model: Any, directory: Path) -> Any:
    """The model with the adapter around it. Raises: ModelError where tensors are missing or left over."""
    from peft import PeftModel, get_peft_model_state_dict  # seconds to import

    from reward_model.model.old_torchao import pass_over_old_torchao

    pass_over_old_torchao()
    # Its device is named, or PEFT 0.21 would load the adapter to the first GPU, whichever has the model.
    device = str(find_score_layer(model).weight.device)
    try:
        adapted = PeftModel.from_pretrained(model, directory, torch_device=device)
    except Exception as error:  # PEFT takes its settings on trust, and fails where it first uses one
        raise ModelError(f"{directory / CONFIG}: no adapter of this backbone ({one_line(error)})") from error
    with safe_open(directory / WEIGHTS, framework="np") as tensors:
        stored = set(tensors.keys())
    # PEFT stores embeddings that it adapts beside their adapter.
    embeddings = any(name.endswith(".base_layer.weight") for name in stored)
    wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=embeddings))
    # Of the score layer `reward_model.run_directory.load_score` says more.
    check_keys(str(directory / WEIGHTS), wanted - stored, stored - wanted)
    return adapted
