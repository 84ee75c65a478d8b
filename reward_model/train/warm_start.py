"""Starting from weights that were trained before: `--init_from D`, as the second stage of a recipe of two.

D is a run directory of ours, or a reward model with one label. Of a full model the backbone is taken with the score layer,
of an adapter the adapter. The score layer brings more than stock code reads: tie strength and style.

Three things do not carry over as they are. Style weights belong to features on the scale of D's battles, so they are put on
the scale of these, and a ridge fit moves them as far as these battles ask (`reward_model.train.initial_weights`). They
stay behind where a fit from 0 has the lower cross-validated log loss. The tie bias is moved by what the two tie rates
differ. Tie weights of a run that saw no tie say nothing and stay behind.
"""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from trl import ModelConfig

from arena_data.file_io import json_object, read_json
from arena_data.style.features import RESPONSE_FEATURES
from reward_model.errors import ModelError
from reward_model.model.score_layer import TieAwareScore, gathered
from reward_model.model.style_head import StyleHead, StyleScale
from reward_model.run_directory.adapter import CONFIG as ADAPTER_CONFIG
from reward_model.run_directory.adapter import WEIGHTS, check_adapter
from reward_model.run_directory.load_model import backbone_of
from reward_model.run_directory.load_score import stored_score
from reward_model.run_directory.reading import RunDirectory, read_run
from reward_model.run_directory.settings import CONFIG
from reward_model.train.initial_weights import tie_bias_of
from reward_model.train.settings.config import TieRewardConfig

_LEAST_TIES = 0.005  # share of ties below which a run has learned nothing of them
_NEVER_VARIED = 1e5  # a spread beyond this stands for a feature that never varied


@dataclass(frozen=True)
class StyleCentre:
    """Another run's style weights, on the scale of its own battles."""

    head: StyleHead
    with_ties: bool

    def on_scale(self, scale: StyleScale) -> torch.Tensor:
        """float64 [2F + 1]: of style, then of pairs, for features on this scale. What ties would have taught is 0."""
        old = self.head.scale
        ratios = [
            np.where(new.spread > _NEVER_VARIED, 0.0, new.spread.astype(np.float64) / before.spread)
            for new, before in ((scale.side, old.side), (scale.pair, old.pair))
        ]
        pair = self.head.tie_weights * ratios[1] * self.with_ties
        return torch.from_numpy(np.concatenate([self.head.style_reward * ratios[0], pair]))


@dataclass
class WarmStart:
    """A run that another one starts from; `take_score`, then `finish_ties`, then `take_adapter`.

    Args:
        run: as it was read.
        link, style: of the new run.
    """

    run: RunDirectory
    link: str
    style: bool
    _tie_shift: float = field(default=0.0, init=False)

    @property
    def is_adapter(self) -> bool:
        return self.run.config.model_type == "adapter"

    @property
    def takes_style(self) -> bool:
        return self.style and self.run.style is not None and tuple(self.run.style.features) == tuple(RESPONSE_FEATURES)

    @property
    def tie_rate(self) -> float:
        return float(self.run.metrics.get("prior", [1 / 3] * 3)[2])

    @property
    def takes_ties(self) -> bool:
        return self.tie_rate >= _LEAST_TIES and self.run.config.tie_link == self.link

    def line(self, *, style_kept: bool, sources: int = 0, grades: int = 0) -> str:
        """What is taken, and what is new.

        Args:
            style_kept: the fit of style that pulls to the run's own was the better one.
            sources, grades: how many of each the new run has.
        """
        left = "style (a fit of these battles alone is better)" if self.takes_style else "style"
        why = "its battles had none" if self.tie_rate < _LEAST_TIES else f"its link is {self.run.config.tie_link}"
        parts = [
            (True, f"adapter of {self.run.config.base_model}" if self.is_adapter else "backbone"),
            (True, "score"),
            (self.takes_ties, "ties" if self.takes_ties else f"ties ({why})"),
            *([(style_kept, "style" if style_kept else left)] if self.style else []),
            *([(False, f"offsets of {sources} sources")] if sources else []),
            *([(False, "gaps between grades")] if grades else []),
        ]
        taken, new = (", ".join(name for is_taken, name in parts if is_taken == wanted) for wanted in (True, False))
        return f"init_from {self.run.directory}: taken: {taken}" + (f"; new: {new}" if new else "")

    def take_score(self, layer: TieAwareScore) -> StyleCentre | None:
        """Copies reward and tie weights into a layer that PEFT has not wrapped yet; returns the style, to be fitted.

        Raises: ModelError for weights of another shape.
        """
        saved = stored_score(self.run.directory, layer.stock_name)
        names = ["weight", *(["bias"] if layer.bias is not None else []), *(["tie.weight"] if self.takes_ties else [])]
        chosen = {name: layer.get_parameter(name) for name in names}
        for name, parameter in chosen.items():
            wanted, found = tuple(parameter.shape), tuple(saved[name].shape) if name in saved else None
            if wanted != found and not hasattr(parameter, "ds_id"):
                raise ModelError(
                    f"--init_from {self.run.directory}: {layer.stock_name}.{name} has shape {found}, this model's"
                    f" {wanted}; start from a run of the same backbone"
                )
        with gathered(chosen.values(), write=True), torch.no_grad():
            for name, parameter in chosen.items():
                parameter.copy_(saved[name])
        if self.takes_ties:
            before = tie_bias_of(np.asarray(self.run.metrics.get("prior", [1 / 3] * 3)), self.link)
            self._tie_shift = float(saved["tie.bias"]) - before
        return StyleCentre(self.run.style, self.takes_ties) if self.takes_style and self.run.style else None

    def finish_ties(self, layer: TieAwareScore) -> None:
        """Moves the tie bias, which stands at the tie rate of the new battles, by what the run had learned beside its own
        tie rate: the tie weights that were taken belong to it."""
        with gathered([layer.tie.bias], write=True), torch.no_grad():
            layer.tie.bias.add_(self._tie_shift)

    def take_adapter(self, model: Any) -> None:
        """Copies the adapter into a model that PEFT has wrapped; the score layer has been taken already.

        Raises: ModelError for an adapter of other layers or shapes.
        """
        if not self.is_adapter:
            return
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        def is_score(name: str) -> bool:
            return f".{self.run.config.score_module}." in f".{name.removeprefix('base_model.model.')}"

        stored = {name: t for name, t in load_file(self.run.directory / WEIGHTS).items() if not is_score(name)}
        ours = get_peft_model_state_dict(model)
        wanted = {name: tuple(tensor.shape) for name, tensor in ours.items() if not is_score(name)}
        shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
        if differing := sorted(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name)):
            name = differing[0]
            raise ModelError(
                f"--init_from {self.run.directory}: its adapter does not fit: {name} is {shapes.get(name, 'not there')},"
                f" here {wanted.get(name, 'not there')}; give the same backbone, lora_r and lora_target_modules"
            )
        set_peft_model_state_dict(model, ours | stored)


def open_warm_start(config: TieRewardConfig, arguments: ModelConfig) -> tuple[WarmStart | None, ModelConfig, list[str]]:
    """The run to start from, the model's flags with the backbone that its weights belong to, and lines to show.

    A reward model that is no run of ours is the backbone itself: no run is returned for it.

    Raises: InputError or ModelError for what cannot be started from.
    """
    name = config.init_from
    if name is None:
        return None, arguments, []
    folder, arguments, given = Path(name), copy.copy(arguments), arguments.model_name_or_path
    if not (folder / CONFIG).is_file():
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise ModelError(f"--init_from {name}: is neither a run ({CONFIG}) nor a model (config.json)")
        arguments.model_name_or_path = name
        return None, arguments, [f"init_from {name}: taken: backbone, score; new: ties{', style' * config.style}"]
    run = read_run(folder)
    if run.config.encoding != config.encoding:
        raise ModelError(
            f"--init_from {name}: was trained with encoding {run.config.encoding}, in which a score means something else;"
            f" add --encoding {run.config.encoding}"
        )
    start = WarmStart(run, config.tie_link, config.style)
    lines = []
    if start.is_adapter:
        _check_adapter(run, arguments)
        arguments.model_name_or_path = given or backbone_of(run, None)
    else:
        if given and given != name:
            lines = [f"model_name_or_path {given} is not read: the backbone is that of init_from"]
        arguments.model_name_or_path, arguments.model_revision = name, "main"
    return start, arguments, lines


def _check_adapter(run: RunDirectory, arguments: ModelConfig) -> None:
    if not arguments.use_peft:
        raise ModelError(f"--init_from {run.directory}: is an adapter; add --use_peft with its lora_r and lora_alpha")
    check_adapter(run.directory)
    stored = read_json(run.directory / ADAPTER_CONFIG, json_object)
    # What an adapter's weights mean depends on these.
    ours = {
        "r": arguments.lora_r,
        "lora_alpha": arguments.lora_alpha,
        "use_rslora": arguments.use_rslora,
        "use_dora": arguments.use_dora,
    }
    for name, value in ours.items():
        if stored.get(name) != value:
            raise ModelError(
                f"--init_from {run.directory}: its adapter has {name} {stored.get(name)}, this run {value}"
            )
