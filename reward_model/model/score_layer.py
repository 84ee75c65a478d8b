"""The score layer: one reward and one tie strength per response, inside a stock sequence-classification model.

A reward model is an `AutoModelForSequenceClassification` with one label. Its last linear layer is replaced by a
`TieAwareScore`, an `nn.Linear` to one output that holds a few parameters more:

    value = w·h + a·s − z                 h: the pooled state, w: `weight`, s: style features, a: `style_reward`
    tie   = u·h + k + b·|Δs| + c·sim      u, k: `tie.weight`, `tie.bias`, b: `style_tie`, c: `style_similarity`

The absolute zero z (`zero`) is there where both-bad is an outcome (`reward_model.model.four_outcomes`), and nowhere else.
Stock code finds `weight` where it expects it and passes over the rest, so a checkpoint or adapter is a plain reward
model to anyone who loads it plainly: value without the style. `links` makes probabilities of the two numbers.

What the layer needs beside the states reaches it through `score_inputs`. Parameters read outside the model's forward
would be empty under ZeRO 3 and count as unused under DDP. Pooling is by position: stock pooling looks for
`pad_token_id` and so skips a closing EOS that doubles as padding.

With PEFT: `install_score_layer`, then `get_peft_model` (saving `head_module_names`) or `PeftModel.from_pretrained`;
when loading, `load_score` last: it fails where Transformers only warns. Quantised models skip the same names.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from reward_model.model.model_lock import lock_of
from reward_model.model.source_offsets import source_columns, source_parameters


class ScoreInputs(NamedTuple):
    """What `score_inputs` hands to the layer."""

    positions: Tensor | None = None
    style: Tensor | None = None
    pair: Tensor | None = None
    source: Tensor | None = None


def _no_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    available = torch.amp.is_autocast_available(device.type)  # not on the meta device
    return torch.autocast(device.type, enabled=False) if available else contextlib.nullcontext()


class Float32Linear(nn.Linear):
    """A linear layer that computes in float32 and whose parameters stay float32.

    Moves between devices go through. A change of dtype (`.to(torch.bfloat16)`, `.half()`) is undone without rounding,
    and `.float()` restores parameters whose `.data` was cast from outside. Where `stays_float32` is off (ZeRO 3 wants one
    dtype, and keeps float32 masters in its optimizer) only the computation is float32.
    """

    stays_float32 = True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Float32Linear":
        def in_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return (
                moved
                if moved.dtype == torch.float32 or not self.stays_float32
                else tensor.to(moved.device, torch.float32)
            )

        super()._apply(in_float32, recurse)
        return self

    def forward(self, hidden: Tensor) -> Tensor:
        """float [..., in_features] -> float32 [..., out_features]."""
        weight, bias = self.weight, self.bias
        with _no_autocast(weight.device):
            return linear(hidden.to(weight.device).float(), weight.float(), None if bias is None else bias.float())


class TieAwareScore(Float32Linear):
    """Value and tie strength from a pooled state; see the module's docstring. `install_score_layer` makes one.

    Args:
        stock_name: name of the layer that it replaces, such as `classifier.out_proj`.
        replaced: that layer: gives the size of the state h, whether `weight` has a bias, and the device.
        style_features: F, how many style features there are; 0 for no style head.
        tie_bias: k, the tie strength before training.
        sources: how many sources of battles there are beside our own (`reward_model.model.source_offsets`).
        grade_levels: the most grades that a source has; 0 where no battle is graded.
        zero: z before training; None for a layer without one.
    """

    zero: nn.Parameter | None
    style_reward: nn.Parameter | None
    style_tie: nn.Parameter | None
    style_similarity: nn.Parameter | None
    source_bias: nn.Parameter | None
    grade_bias: nn.Parameter | None

    def __init__(
        self,
        stock_name: str,
        replaced: nn.Linear,
        style_features: int,
        tie_bias: float,
        sources: int = 0,
        grade_levels: int = 0,
        zero: float | None = None,
    ) -> None:
        device, size = replaced.weight.device, replaced.in_features
        super().__init__(size, 1, bias=replaced.bias is not None, device=device, dtype=torch.float32)
        self.stock_name, self.inputs = stock_name, ScoreInputs()
        self.tie = Float32Linear(size, 1, device=device, dtype=torch.float32)
        nn.init.zeros_(self.tie.weight)
        nn.init.constant_(self.tie.bias, tie_bias)
        start = None if zero is None else torch.full((1,), zero, device=device, dtype=torch.float32)
        self.register_parameter("zero", None if start is None else nn.Parameter(start))
        # None and not empty: optimizers and sharders stumble over parameters without elements.
        for name, size in (("style_reward", style_features), ("style_tie", style_features), ("style_similarity", 1)):
            zeros = nn.Parameter(torch.zeros(size, device=device, dtype=torch.float32))
            self.register_parameter(name, zeros if style_features else None)
        for name, parameter in source_parameters(sources, grade_levels, device).items():
            self.register_parameter(name, parameter)

    def start_from_nothing(self) -> None:
        """Sets w and the bias beside it to 0.

        Drawn at random, as Transformers draws them, they give margins as large as a backbone's states happen to be: of
        standard deviation 0.007 for MiniLM, 1.6 for Gemma-3-270M, far from what style has told (docs/LOG.md).
        """
        stock = [self.get_parameter(name) for name in ("weight", "bias") if getattr(self, name) is not None]
        with gathered(stock, write=True), torch.no_grad():
            for parameter in stock:
                parameter.zero_()

    def forward(self, hidden: Tensor) -> Tensor:
        """float [batch, h], pooled (encoders), or [batch, T, h], all tokens (decoders) -> float32 [..., 2]: value, tie.

        Where the battles' sources are given and some are graded, the gaps between grades follow as further columns.

        Tokens are pooled at the given positions, and the result is expanded over T, so that stock pooling picks the
        same numbers wherever it looks; without positions every token is scored. One row of several sequences read end
        to end gives the pairs of all of them, float32 [1, T, 2 · sequences]. Raises ValueError for inputs whose shapes
        do not fit the batch or the style features.
        """
        positions, style, pair, source = self.inputs
        rows = tokens = 0
        if hidden.ndim == 3 and positions is not None:
            rows, tokens = hidden.shape[:2]
            if rows > 1:
                check_shape("positions", positions, (rows,))
            row = torch.arange(rows, device=hidden.device).expand(len(positions))
            hidden = hidden[row, positions.to(hidden.device)]
        value, tie = super().forward(hidden), self.tie(hidden)
        with _no_autocast(value.device):
            if self.zero is not None:
                value = value - self.zero.float()
            if style is not None:
                value = value + _style_term("style", style, value, self.style_reward)
            if pair is not None:
                tie = tie + _style_term("pair", pair, tie, self.style_tie, self.style_similarity)
            columns: list[Tensor] = []
            if source is not None:
                offset, *columns = source_columns(source, value, self.source_bias, self.grade_bias)
                tie = tie + offset
            both = torch.cat((value, tie, *columns), dim=-1)
        return both if not tokens else both.reshape(rows, 1, -1).expand(-1, tokens, -1)


def check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    """Raises: ValueError, naming the tensor, where its shape is not the expected one."""
    if tuple(tensor.shape) != expected:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {expected}")


def _style_term(name: str, features: Tensor, like: Tensor, *weights: nn.Parameter | None) -> Tensor:
    """features · weights in float32: [batch, 1] or, beside numbers that are not pooled, [batch, 1, 1]."""
    present = [weight.float() for weight in weights if weight is not None]
    if not present:
        raise ValueError(f"{name} given to a score layer without style features; install it with style_features")
    weight = torch.cat(present)
    check_shape(name, features, (len(like), len(weight)))
    return (features.to(like.device).float() @ weight).view(-1, *[1] * (like.ndim - 1))


def _layers(model: nn.Module) -> list[TieAwareScore]:
    layers = [module for module in model.modules() if isinstance(module, TieAwareScore)]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no tie-aware score layer; install one first")
    return layers


@contextlib.contextmanager
def score_inputs(
    model: nn.Module,
    *,
    positions: Tensor | None = None,
    style: Tensor | None = None,
    pair: Tensor | None = None,
    source: Tensor | None = None,
) -> Iterator[None]:
    """Hands the score layer its inputs for the forward passes inside the block; afterwards it has those it had before.

    Another thread that computes with the model waits until the block ends (`reward_model.model.model_lock`). Reaches
    every copy of the layer, also in a model that PEFT, DDP, DeepSpeed or FSDP has wrapped.

    Args:
        model: a model with a score layer.
        positions: int64 [batch], index of the token to pool in each padded sequence (`last_positions`), or int64
            [sequences] in the one row that holds them all (`reward_model.model.packed.reader`). None leaves pooling
            to the model, and encoders, which have their own, pass over it.
        style: float [batch, F], added to value through a. None leaves the style out.
        pair: float [batch, F + 1], |s_A − s_B| and then the similarity of A and B, added to tie through b and c.
        source: int64 [batch], the source of each row's battle, 0 for our own; None leaves offsets and grades out.
    """
    layers = _layers(model)
    with lock_of(layers[0]):
        before = [layer.inputs for layer in layers]
        try:
            for layer in layers:
                layer.inputs = ScoreInputs(positions, style, pair, source)
            yield
        finally:
            for layer, inputs in zip(layers, before, strict=True):
                layer.inputs = inputs


def model_lock(model: nn.Module) -> contextlib.AbstractContextManager[bool]:
    """Inside the block no other thread computes with the model. Raises: ValueError without a score layer."""
    return lock_of(_layers(model)[0])


def last_positions(attention_mask: Tensor) -> Tensor:
    """Index of the last real token of each sequence, int64 [batch], whichever side is padded and whatever the token.

    attention_mask is [batch, T], 0 where padded. Raises ValueError for a sequence without a real token.
    """
    real = attention_mask != 0
    if not bool(real.any(dim=-1).all()):
        raise ValueError("a sequence has no token to pool: its attention mask is all zero")
    return (torch.arange(real.shape[-1], device=real.device) * real).argmax(dim=-1)


def _stock(model: nn.Module) -> PreTrainedModel:
    stock = model.get_base_model() if isinstance(model, PeftModel) else model
    if isinstance(stock, PreTrainedModel):
        return stock
    raise ValueError(f"{type(stock).__name__} is no Transformers model; expected a sequence-classification model")


def _last_linear(model: PreTrainedModel) -> tuple[str, nn.Linear]:
    """Name and module of the last linear layer outside the backbone."""
    backbone = getattr(model, model.base_model_prefix, model)
    passed_over = set(backbone.modules())
    passed_over |= {module.tie for module in model.modules() if isinstance(module, TieAwareScore)}
    linear_layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    head = [(name, layer) for name, layer in linear_layers if layer not in passed_over]
    if not head:
        raise ValueError(f"{type(model).__name__} has no score layer; expected a sequence-classification model")
    return head[-1]


def score_module_name(model: nn.Module) -> str:
    """Name of the module that holds the score layer, `score` or `classifier`; ValueError where there is none."""
    return _last_linear(_stock(model))[0].partition(".")[0]


def head_module_names(model: nn.Module) -> list[str]:
    """Names for PEFT's `modules_to_save` and for `llm_int8_skip_modules`: the score module and what leads up to it.

    A pooler can be new in a classification model (DeBERTa-v3's is): an adapter that does not save it would sit on other
    random numbers at every load. Works on the meta device too: a quantised model needs the names before it is loaded.
    """
    model = _stock(model)
    backbone = model.base_model_prefix
    names = [name for name, child in model.named_children() if name != backbone and [*child.parameters()]]
    if isinstance(getattr(getattr(model, backbone), "pooler", None), nn.Module):
        names.append(f"{backbone}.pooler")
    return names


def gathered(parameters: Iterable[nn.Parameter], *, write: bool = False) -> contextlib.AbstractContextManager[object]:
    """Inside the block parameters that ZeRO 3 has partitioned are whole."""
    partitioned = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not partitioned:
        return contextlib.nullcontext()
    import deepspeed  # slow to import, and absent where nobody shards

    return deepspeed.zero.GatheredParameters(partitioned, modifier_rank=0 if write else None)


def install_score_layer(
    model: nn.Module,
    *,
    style_features: int,
    tie_bias: float,
    sources: int = 0,
    grade_levels: int = 0,
    zero: float | None = None,
) -> TieAwareScore:
    """Replaces the last linear layer of a one-label sequence-classification model; its weight and bias are kept.

    The numbers are those of `TieAwareScore`. Raises ValueError, in one line, for a model or a head that does not fit.
    """
    if any(isinstance(module, PeftModel | ModulesToSaveWrapper) for module in model.modules()):
        raise ValueError("PEFT has wrapped the model already; install the score layer before get_peft_model")
    model = _stock(model)
    name, old = _last_linear(model)
    place = f"{type(model).__name__}.{name}"
    if isinstance(old, TieAwareScore):
        raise ValueError(f"{place} is a tie-aware score layer already")
    if type(old).__module__.startswith("bitsandbytes") or not old.weight.is_floating_point():
        raise ValueError(f"{place} is quantised; load the model with llm_int8_skip_modules={head_module_names(model)}")
    if old.out_features != 1:
        raise ValueError(f"{place} has {old.out_features} outputs; load the model with num_labels=1")
    new = TieAwareScore(name, old, style_features, tie_bias, sources, grade_levels, zero).train(old.training)
    with gathered(old.parameters()), torch.no_grad():
        for key, parameter in old.named_parameters():
            new.get_parameter(key).copy_(parameter)
    model.set_submodule(name, new)
    return new


def find_score_layer(model: nn.Module) -> TieAwareScore:
    """The score layer that the model's forward uses, under PEFT the active adapter's copy; ValueError without one."""
    inactive: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            adapters = [] if module.disable_adapters else module.active_adapters
            active = module.modules_to_save[adapters[0]] if adapters else module.original_module
            inactive |= set(module.modules()) - set(active.modules())
    for layer in _layers(model):
        if layer not in inactive:
            return layer
    raise ValueError(f"{type(model).__name__} has no active tie-aware score layer")
