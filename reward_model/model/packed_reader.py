"""Sequences read end to end in one row, without padding, and a shared beginning read once.

Every layer but attention treats tokens one by one, so a batch may be one row of all its tokens: nothing is padded, and no
score depends on what else is in the batch. Attention is computed a sequence at a time. Where attention is causal, the
beginning that sequences share (a prompt with its two responses) has the same states in all of them, and its tokens go
through the layers once:

    tokens      [prompt | rest of A | rest of B]        positions   0..p-1 | p..  | p..
    attention   A reads prompt and A; B reads prompt and B

It hooks into Transformers' attention interface, so the models' own code runs. Whether a model can be read like this is
found out when it is loaded (`packed_reader`): it must give the scores that it gives to padded rows.

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
from torch.nn.functional import pad
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_layers import GenericForSequenceClassification

from reward_model.model import plain_attention
from reward_model.model.score_layer import TieAwareScore, find_score_layer, model_lock, score_inputs
from reward_model.quiet import quiet_transformers
from reward_model.tokens.layout import Piece, lay_out

IMPLEMENTATION = "packed_sequences"


@dataclass
class _Call:
    """What one model is reading: the pieces of its row, and the attention whose first tokens alone are read, if any."""

    pieces: list[Piece] = field(default_factory=list)
    first_only: Any = None


# By each module of the model: attention is told which module it computes, also when a backward pass computes it again in
# a thread of its own.
_calls: "weakref.WeakKeyDictionary[torch.nn.Module, _Call]" = weakref.WeakKeyDictionary()


class _PackedAttention:
    """Attention within each piece of the row; registered with Transformers under `IMPLEMENTATION`."""

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any = None, **options: Any
    ) -> tuple[Tensor, None]:
        """query [1, heads, tokens, size], key and value alike -> [1, tokens, heads, size]."""
        call, states = _calls[module], []
        for piece in call.pieces:
            k, v = (_rows(tensor, piece) for tensor in (key, value))
            if module is call.first_only:
                first = query[:, :, piece.start : piece.start + 1]
                out, _ = sdpa_attention_forward(module, first, k, v, None, **options)
                states.append(pad(out, (0, 0, 0, 0, 0, piece.end - piece.start - 1)))
            elif plain_attention.is_faster(query, k.shape[2]):
                causal = bool(getattr(module, "is_causal", True))
                own = query[:, :, piece.start : piece.end]
                states.append(plain_attention.attention(own, k, v, causal=causal, **options))
            else:
                out, _ = sdpa_attention_forward(module, _rows(query, piece), k, v, None, **options)
                states.append(out[:, piece.shared :])
        return torch.cat(states, dim=1), None


def _rows(tensor: Tensor, piece: Piece) -> Tensor:
    own = tensor[:, :, piece.start : piece.end]
    if not piece.shared:
        return own
    return torch.cat((tensor[:, :, piece.shared_start : piece.shared_start + piece.shared], own), dim=2)


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
        # Readers of one model share what it is reading.
        self._call = _calls.get(self.stock) or _Call()
        for module in self.stock.modules():
            _calls[module] = self._call

    @property
    def device(self) -> torch.device:
        return next(iter(self.stock.parameters())).device

    def agrees(self) -> bool:
        """Whether this model can be read like this: rows that share a beginning score as each does by itself."""
        random = torch.Generator().manual_seed(0)
        vocabulary = self.stock.config.get_text_config().vocab_size
        lengths = (24, 9, 17, 40, 5)
        texts = [torch.randint(vocabulary, (length,), generator=random).tolist() for length in lengths]
        rows = [texts[3], *(texts[0] + text for text in texts[:3]), texts[4]]
        with random_weights(find_score_layer(self.stock)):
            expected = torch.cat([self._by_itself(row) for row in rows])
            try:
                packed = self.scores(rows)
            except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError):
                return False
        # Half precision rounds a little differently; a wrong position or a leak moves scores like another text does.
        half = self.stock.dtype in (torch.float16, torch.bfloat16)
        allowed = (0.1 if half else 1e-3) * (expected.max(dim=0).values - expected.min(dim=0).values)
        return bool((packed - expected).abs().le(allowed + 1e-6).all())

    def _by_itself(self, row: Sequence[int]) -> Tensor:
        with score_inputs(self.stock, positions=torch.tensor([len(row) - 1], device=self.device)):
            scores: Tensor = self.stock(input_ids=torch.tensor([row], device=self.device)).logits
        return scores.float()

    def scores(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """float32 [rows, 2]: value and tie strength of each row of token ids; neighbours share what they begin with."""
        packed = lay_out(rows, self.causal)
        inputs = {name: packed[name].to(self.device) for name in ("input_ids", "position_ids")}
        with self.reading():
            return self.logits(self.stock, packed | inputs).float()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside the block the model reads packed rows, in `logits` and in the backward pass that follows it.

        Other threads that compute with the model wait until the block ends.
        """
        with model_lock(self.stock), contextlib.ExitStack() as undo:
            undo.callback(setattr, self._call, "pieces", self._call.pieces)
            before = self.stock.config._attn_implementation
            if before != IMPLEMENTATION:  # else this is a call within a call, and all is set
                undo.callback(self.stock.set_attn_implementation, before)
                undo.callback(setattr, self._call, "first_only", None)
                self.stock.set_attn_implementation(IMPLEMENTATION)
                for handle in () if self.causal else self._pooling():
                    undo.callback(handle.remove)
            yield

    def logits(
        self, model: Any, packed: dict[str, Any], style: Tensor | None = None, pair: Tensor | None = None
    ) -> Tensor:
        """What the model makes of rows from `lay_out`, [rows, 2].

        Args:
            model: this reader's model, or what an engine has wrapped around it.
            packed: see `lay_out`; tensors on the model's device.
            style, pair: of each row, see `reward_model.model.score_layer.score_inputs`.
        """
        # Kept until `reading` ends: gradient checkpointing computes attention again in the backward pass.
        self._call.pieces = pieces = packed["pieces"]
        inputs = {name: packed[name] for name in ("input_ids", "position_ids")}
        if self.causal:
            ends = torch.tensor([piece.end - 1 for piece in pieces], device=packed["input_ids"].device)
            with score_inputs(self.stock, positions=ends, style=style, pair=pair):
                scores: Tensor = model(**inputs, use_cache=False).logits
        else:
            with score_inputs(self.stock, style=style, pair=pair):
                scores = model(**inputs).logits
        return scores.reshape(len(pieces), -1)

    def _pooling(self) -> Iterator[Any]:
        """Hooks for encoders, which pool the first token of a row: they are given one row a sequence, of its first token.

        In the last layer of BERT and its like nothing but keys and values is computed for other tokens.
        """

        def first_tokens(hidden: Tensor) -> Tensor:
            pieces = self._call.pieces
            only_them = hidden.shape[1] == len(pieces)
            return hidden if only_them else hidden[:, [piece.start for piece in pieces]]

        def after_attention(_module: Any, _arguments: Any, output: Any) -> Any:
            return (first_tokens(output[0]), *output[1:])

        def after_backbone(_module: Any, _arguments: Any, output: Any) -> Any:
            output.last_hidden_state = first_tokens(output.last_hidden_state).transpose(0, 1)
            return output

        def before_pooler(_module: Any, arguments: Any) -> Any:
            return (first_tokens(arguments[0]).transpose(0, 1),)

        yield self.backbone.register_forward_hook(after_backbone)
        if isinstance(pooler := getattr(self.backbone, "pooler", None), torch.nn.Module):
            yield pooler.register_forward_pre_hook(before_pooler)
        layers = getattr(getattr(self.backbone, "encoder", None), "layer", None)
        if layers is not None and hasattr(layers[-1], "intermediate") and hasattr(layers[-1].attention, "self"):
            self._call.first_only = layers[-1].attention.self
            yield layers[-1].attention.register_forward_hook(after_attention)


@contextlib.contextmanager
def random_weights(layer: TieAwareScore) -> Iterator[None]:
    """Inside the block the score layer tells states apart: one that is 0, as before training, gives all the same score."""
    kept = [(parameter, parameter.detach().clone()) for parameter in (layer.weight, layer.tie.weight)]
    random = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for parameter, before in kept:
                parameter.copy_(torch.randn(before.shape, generator=random))
        yield
    finally:
        with torch.no_grad():
            for parameter, before in kept:
                parameter.copy_(before)


def packed_reader(model: Any, max_length: int) -> PackedReader | None:
    """A reader, or None for a model that must be read padded: one whose attention is its own, is capped, or looks back
    over fewer than `max_length` tokens."""
    reader = PackedReader(model)
    config = reader.stock.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "local_attention")]
    if any(isinstance(window, int) and window < max_length for window in windows):
        return None
    with model_lock(reader.stock), torch.no_grad(), quiet_transformers():
        was_training = model.training
        model.eval()
        try:
            return reader if reader.agrees() else None
        finally:
            model.train(was_training)
