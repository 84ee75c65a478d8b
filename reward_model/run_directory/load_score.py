"""The score layer as a run's directory has it: all of its parameters read back, or an error.

Transformers and PEFT only warn where part of a layer is missing, and stock code never looks for more than `weight`.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from arena_data.file_io import read_json
from reward_model.model.score_layer import check_shape, find_score_layer, gathered
from reward_model.run_directory.reading import shard_names

_INDEX = "model.safetensors.index.json"


def load_score(model: nn.Module, directory: str | Path) -> None:
    """Loads every parameter of the active score layer, tie and style included, from a run's directory.

    The directory is what `save_pretrained` wrote: an adapter, or a model, sharded or not. Raises ValueError for one
    without a model, and for a parameter that is missing, is left over or has another shape. Load before DeepSpeed wraps
    the model: the float32 masters in its optimizer would overwrite what is loaded later.
    """
    directory, layer = Path(directory), find_score_layer(model)
    name = layer.stock_name
    saved = stored_score(directory, name)
    parameters = dict(layer.named_parameters())
    if missing := sorted(parameters.keys() - saved.keys()):
        raise ValueError(f"{directory}: the score layer {name!r} there lacks {', '.join(missing)}")
    if left_over := sorted(saved.keys() - parameters.keys()):
        raise ValueError(f"{directory}: the score layer {name!r} there has {', '.join(left_over)}, the model's has not")
    with gathered(parameters.values(), write=True), torch.no_grad():
        for key, parameter in parameters.items():
            check_shape(f"{directory}: {name}.{key}", saved[key], tuple(parameter.shape))
        for key, parameter in parameters.items():
            parameter.copy_(saved[key])


def stored_score(directory: Path, name: str) -> dict[str, Tensor]:
    """The parameters of the score layer of that name, by their names in the layer.

    Raises ValueError for a directory without a model.
    """
    files = [file for name in ("adapter_model", "model") if (file := directory / f"{name}.safetensors").is_file()][:1]
    if not files and (index := directory / _INDEX).is_file():
        files = [directory / shard for shard in read_json(index, shard_names)]
    if not files:
        raise ValueError(f"{directory}: no adapter_model.safetensors, model.safetensors or {_INDEX} there")
    saved: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118, not a mapping
                parameter = key.removeprefix("base_model.model.")
                if parameter.startswith(f"{name}."):
                    saved[parameter.removeprefix(f"{name}.")] = tensors.get_tensor(key)
    return saved
