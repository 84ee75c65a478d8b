"""Sequences read end to end in one row, without padding, and a shared beginning read once.

Every layer but attention treats tokens one by one, so a batch may be one row of all its tokens: nothing is padded, and no
score depends on what else is in the batch. Attention is computed a sequence at a time. Where attention is causal, the
beginning that sequences share (a prompt with its two responses) has the same states in all of them, and its tokens go
through the layers once:

    tokens      [prompt | rest of A | rest of B]        positions   0..p-1 | p..  | p..
    attention   A reads prompt and A; B reads prompt and B

It hooks into Transformers' attention interface, so the models' own code runs. Whether a model can be read like this is
found out on the device that it computes on (`reward_model.model.packed.check`).

Sources: https://huggingface.co/docs/transformers/attention_interface; sharing of prefixes: Juravsky et al. (2024),
"Hydragen".
"""

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.modeling_layers import GenericForSequenceClassification

from reward_model.model.packed.piece_attention import AttentionOptions, attention, first_tokens
from reward_model.model.score_layer import model_lock, score_inputs
from reward_model.tokens.layout import Pack, lay_out, sent

IMPLEMENTATION = "packed_sequences"
# What some layers add to attention's scores; none of it is computed here, so a model that asks for it is read padded.
UNKNOWN = ("position_bias", "s_aux", "head_mask", "layer_head_mask", "cache")


@dataclass
class _Call:
    """What one model is reading.

    Attributes:
        pack: the pieces of its row.
        first_only: the attention whose first tokens alone are read, if any.
        one_call: whether all pieces may be computed in one call, on GPUs that can.
        attended: the attention modules that were called; None where nobody asks.
    """

    pack: Pack = field(default_factory=Pack)
    first_only: Any = None
    one_call: bool = True
    attended: list[Any] | None = None


# By each module of the model: attention is told which module it computes, also when a backward pass computes it again in
# a thread of its own.
_calls: "weakref.WeakKeyDictionary[torch.nn.Module, _Call]" = weakref.WeakKeyDictionary()


class _PackedAttention:
    """Attention within each piece of the row; registered with Transformers under `IMPLEMENTATION`."""

    def __call__(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any = None,
        *,
        scaling: float | None = None,
        dropout: float = 0.0,
        softcap: float | None = None,
        sliding_window: int | None = None,
        is_causal: bool | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """query [1, heads, tokens, size], key and value alike -> [1, tokens, heads, size]."""
        if asked := [name for name in UNKNOWN if others.get(name) is not None]:
            raise NotImplementedError(f"{type(module).__name__} asks for {asked[0]}")
        call = _calls[module]
        if call.attended is not None:
            call.attended.append(module)
        causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
        options = AttentionOptions(causal, sliding_window, softcap, scaling, dropout, call.one_call)
        compute = first_tokens if module is call.first_only else attention
        return compute(call.pack, query, key, value, options), None


AttentionInterface.register(IMPLEMENTATION, _PackedAttention())


class PackedReader:
    """Reads packed rows with a model.

    Args:
        model: a sequence classifier with a score layer, with or without an adapter.
    """

    def __init__(self, model: Any):
        self.stock = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.causal = isinstance(self.stock, GenericForSequenceClassification)
        self.backbone = getattr(self.stock, self.stock.base_model_prefix)
        embeddings: Any = getattr(self.backbone, "embeddings", None)
        # RoBERTa and XLM-R count positions from behind that of padding.
        offset = hasattr(embeddings, "create_position_ids_from_input_ids")
        self.first_position = embeddings.padding_idx + 1 if offset else 0
        # Readers of one model share what it is reading.
        self._call = _calls.get(self.stock) or _Call()
        for module in self.stock.modules():
            _calls[module] = self._call

    @property
    def device(self) -> torch.device:
        return next(iter(self.stock.parameters())).device

    def scores(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """float32 [rows, 2]: value and tie strength of each row of token ids; neighbours share what they begin with."""
        packed = lay_out(rows, self.causal)
        inputs = {name: sent(packed[name], self.device) for name in ("input_ids", "position_ids")}
        with self.reading():
            return self.logits(self.stock, packed | inputs).float()

    def attended(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, list[Any]]:
        """`scores` of the rows, and the attention module of each call of the packed attention, in order."""
        with model_lock(self.stock):
            modules: list[Any] = []
            self._call.attended = modules
            try:
                return self.scores(rows), modules
            finally:
                self._call.attended = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside the block the model reads packed rows, in `logits` and in the backward pass that follows it.

        Other threads that compute with the model wait until the block ends.
        """
        with model_lock(self.stock), contextlib.ExitStack() as undo:
            undo.callback(setattr, self._call, "pack", self._call.pack)
            before = self.stock.config._attn_implementation
            if before != IMPLEMENTATION:  # else this is a call within a call, and all is set
                undo.callback(setattr, self._call, "first_only", None)
                for config, implementation in self._implementations():
                    undo.callback(setattr, config, "_attn_implementation_internal", implementation)
                    config._attn_implementation_internal = IMPLEMENTATION
                for handle in () if self.causal else self._pooling():
                    undo.callback(handle.remove)
            yield

    def _implementations(self) -> list[tuple[Any, str]]:
        """Each configuration that a module of the model looks its attention up in, and what it says.

        It is set without Transformers' `set_attn_implementation`, which looks for the class's source file: FSDP2 makes a
        class without one.
        """
        configs = {id(m.config): m.config for m in self.stock.modules() if hasattr(m, "config")}
        known = [config for config in configs.values() if hasattr(config, "_attn_implementation_internal")]
        return [(config, config._attn_implementation_internal) for config in known]

    def logits(
        self,
        model: Any,
        packed: dict[str, Any],
        style: Tensor | None = None,
        pair: Tensor | None = None,
        source: Tensor | None = None,
    ) -> Tensor:
        """What the model makes of rows from `lay_out`, [rows, 2].

        Args:
            model: this reader's model, or what an engine has wrapped around it.
            packed: see `lay_out`; tensors on the model's device.
            style, pair, source: of each row, see `reward_model.model.score_layer.score_inputs`.
        """
        # Kept until `reading` ends: gradient checkpointing computes attention again in the backward pass.
        self._call.pack = Pack(packed["pieces"])
        pieces = self._call.pack.pieces
        inputs = {"input_ids": packed["input_ids"], "position_ids": packed["position_ids"] + self.first_position}
        if self.causal:
            ends = sent(torch.tensor([piece.end - 1 for piece in pieces]), packed["input_ids"].device)
            with score_inputs(self.stock, positions=ends, style=style, pair=pair, source=source):
                scores: Tensor = model(**inputs, use_cache=False).logits
        else:
            with score_inputs(self.stock, style=style, pair=pair, source=source):
                scores = model(**inputs).logits
        return scores.reshape(len(pieces), -1)

    def _pooling(self) -> Iterator[Any]:
        """Hooks for encoders, which pool the first token of a row, or all (ModernBERT's "mean"): they are given one row a
        sequence, of its first token or of its mean.

        In the last layer of BERT and its like nothing but keys and values is computed for other tokens.
        """
        means = getattr(self.stock.config, "classifier_pooling", None) == "mean"

        def first_of_each(hidden: Tensor) -> Tensor:
            pack = self._call.pack
            only_them = hidden.shape[1] == len(pack.pieces)
            return hidden if only_them else hidden[:, pack.starts(hidden.device)]

        def pooled(hidden: Tensor) -> Tensor:
            if not means:
                return first_of_each(hidden)
            lengths = [piece.end - piece.start for piece in self._call.pack.pieces]
            return torch.cat([part.mean(dim=1, keepdim=True) for part in hidden.split(lengths, dim=1)], dim=1)

        def after_attention(_module: Any, _arguments: Any, output: Any) -> Any:
            return (first_of_each(output[0]), *output[1:])

        def after_backbone(_module: Any, _arguments: Any, output: Any) -> Any:
            output.last_hidden_state = pooled(output.last_hidden_state).transpose(0, 1)
            return output

        def before_pooler(_module: Any, arguments: Any) -> Any:
            return (first_of_each(arguments[0]).transpose(0, 1),)

        yield self.backbone.register_forward_hook(after_backbone)
        if isinstance(pooler := getattr(self.backbone, "pooler", None), torch.nn.Module):
            yield pooler.register_forward_pre_hook(before_pooler)
        layers = getattr(getattr(self.backbone, "encoder", None), "layer", None)
        if layers is not None and hasattr(layers[-1], "intermediate") and hasattr(layers[-1].attention, "self"):
            self._call.first_only = layers[-1].attention.self
            yield layers[-1].attention.register_forward_hook(after_attention)
