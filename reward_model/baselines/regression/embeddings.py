"""What a frozen backbone makes of [prompt, response]: one vector a text, read once, and kept on disk where it is asked for.

A causal language model also tells how likely it finds a response (its last turn): the mean log-probability of its tokens,
and how uncertain it was of them, the mean entropy of what it expected, both in nats.

Texts are rendered and cut as everywhere in this project (`reward_model.tokens.encoding`), sorted by their hash and
then by length, so a text stands in the same batch whichever side of a battle it is on, and exchanging sides changes
no bit of it.

    CACHE_DIR/{backbone}-{max_length}-{keep}-{hash of all that a vector depends on}.safetensors
        keys, mean, last, first, and the seconds that reading each text took; where a layer or a likelihood is asked for,
        layers (the means after each of them, side by side) in the place of mean, and likelihood

Sources: Reimers & Gurevych (2019), "Sentence-BERT", section 3, for the poolings; Gehrmann, Strobelt & Rush (2019), "GLTR",
section 3, for log-probabilities and entropy as marks of a text.
"""

import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.numpy import save
from tqdm.auto import tqdm
from transformers import AutoModel, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from arena_data.file_io import fingerprint, write_bytes_atomically
from arena_data.transcripts.rendering import TRANSCRIPT_VERSION
from arena_data.transcripts.shortening import Keep
from arena_data.transcripts.truncation import TRUNCATION_VERSION
from reward_model.errors import ModelError, one_line
from reward_model.model.backbone import dtype_named, fastest_dtype, within_positions
from reward_model.model.device import default_device
from reward_model.model.pretrained import UNREAD, load_config, load_pretrained
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import SEPARATE
from reward_model.tokens.sequences import Sequences, distinct_sequences
from reward_model.tokens.token_budget import batches
from reward_model.tokens.tokenizer import load_tokenizer

POOLINGS = ("mean", "last", "first")
LIKELIHOOD = "likelihood"
_LAYERS = "layers"
# Mean log-probability, mean entropy.
LIKELIHOODS = 2
Arrays = dict[str, npt.NDArray[Any]]
Float32Array = npt.NDArray[np.float32]

# Tokens of one batch, padding included.
BATCH_TOKENS = 4096
# Texts that are read before the cache is written again: what a run that is stopped may lose.
CHUNK = 4096
# Tokens whose probabilities over a whole vocabulary are in memory at once: 150 MB for 150,000 words.
_HEAD_TOKENS = 256
# Fewer texts than this are read without a bar.
_FEW = 400


class Embedder:
    """One backbone, one budget of tokens. The backbone is loaded when a text is first read.

    Args:
        model_name_or_path: directory or Hub id.
        max_length: tokens of [prompt, response]; at most what the backbone has positions for.
        dtype: `auto`, float32, bfloat16 or float16; `auto` is what the device is quickest at.
        keep: which end of a cut text is kept.
        cache_dir: where vectors are kept; nowhere if None.
        layer: average the hidden states after so many layers, 0 being the embeddings; -1 is the last.
        likelihood: whether a response's likelihood is told too, for which the backbone must be a causal language model.

    `saved_seconds` is what all texts that came from the cache so far took when they were read.
    """

    def __init__(
        self,
        model_name_or_path: str,
        max_length: int,
        dtype: str = "auto",
        keep: Keep = "both",
        cache_dir: Path | None = None,
        layer: int = -1,
        likelihood: bool = False,
    ):
        self.name, self.max_length, self.keep, self.cache_dir = model_name_or_path, max_length, keep, cache_dir
        self.layer, self.likelihood = layer, likelihood
        self.device = default_device()
        self.dtype = fastest_dtype(self.device) if dtype == "auto" else dtype_named(dtype)
        self.saved_seconds = 0.0
        self._model: Any = None

    def sides(self, battles: datasets.Dataset, *names: str) -> tuple[Float32Array, Float32Array]:
        """float32 [n, width] of each battle's A and of its B.

        Args:
            names: what is told of a text, side by side: `mean` over tokens, the `last` or the `first` of them, `likelihood`.

        Raises: ModelError for a backbone that cannot be loaded, or whose states are not finite in its dtype.
        """
        sequences = distinct_sequences(battles, SEPARATE, both_orders=False)
        if len(sequences) == 0:
            # The backbone alone knows how wide its states are.
            nothing = np.zeros((0, sum(self._widths(names).values())), dtype=np.float32)
            return nothing, nothing
        kept = self._read(*names)
        place = {key.tobytes(): row for row, key in enumerate(kept["keys"])} if kept else {}
        missing = np.asarray([row for row, key in enumerate(sequences.keys) if key not in place], dtype=np.int64)
        if len(missing):
            new = self._embed(battles, sequences, missing, names if self.cache_dir is None else self._kept_names())
            place |= {key.tobytes(): len(place) + row for row, key in enumerate(new["keys"])}
            kept = _added(kept, {name: self._told(new, name) for name in ("keys", "seconds", *names)})
        rows = np.asarray([place[key] for key in sequences.keys], dtype=np.int64)
        self.saved_seconds += float(kept["seconds"][np.delete(rows, missing)].sum())
        told: Float32Array = np.concatenate([kept[name][rows] for name in names], axis=1)
        return told[sequences.of_battle[:, 0]], told[sequences.of_battle[:, 1]]

    def _embed(
        self, battles: datasets.Dataset, sequences: Sequences, missing: npt.NDArray[np.int64], names: tuple[str, ...]
    ) -> Arrays:
        """The texts that are not in the cache, which is written after each chunk of them."""
        order = np.asarray(sorted(missing.tolist(), key=lambda row: sequences.keys[row]), dtype=np.int64)
        model, encoder = self._loaded()
        widths, vectors = self._widths(names), dict[str, npt.NDArray[Any]]()
        with tqdm(total=len(order), desc="Reading", unit="text", disable=len(order) < _FEW) as bar:
            for start in range(0, len(order), CHUNK):
                chosen, started = order[start : start + CHUNK], time.perf_counter()
                texts = sequences.texts(battles, chosen)
                if LIKELIHOOD in names:
                    ids, starts = encoder.encode_with_starts(texts)
                else:
                    ids, starts = encoder.encode_rows(texts)[0], [0] * len(texts)
                chunk: Arrays = {name: np.zeros((len(ids), width), np.float32) for name, width in widths.items()}
                for batch in batches([len(row) for row in ids], BATCH_TOKENS):
                    given = [ids[row] for row in batch], [starts[row] for row in batch]
                    for name, states in self._states(model, encoder, *given, names).items():
                        chunk[name][batch] = states
                    bar.update(len(batch))
                keys = np.frombuffer(b"".join(sequences.keys[row] for row in chosen), dtype=np.uint8)
                chunk["keys"] = keys.reshape(len(chosen), -1)
                chunk["seconds"] = np.full(len(chosen), (time.perf_counter() - started) / len(chosen))
                vectors = _added(vectors, chunk)
                if self.cache_dir is not None:
                    self._write(_added(self._stored(*self._kept_names()), chunk))
        return vectors

    @torch.no_grad()
    def _states(
        self, model: Any, encoder: BattleEncoder, ids: list[list[int]], starts: list[int], names: tuple[str, ...]
    ) -> dict[str, Float32Array]:
        """float32 [texts, width] for each of the names. starts: where the responses begin, for their likelihood."""
        batch = encoder.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        mask = batch["attention_mask"]
        every = _LAYERS in names or self.layer >= 0
        read = model.base_model(input_ids=batch["input_ids"], attention_mask=mask, output_hidden_states=every)
        states = read.last_hidden_state.float()
        if not torch.isfinite(states[mask.bool()]).all():
            raise ModelError(f"{self.name}: its states are not finite in {self.dtype}; choose --dtype float32")
        pooled = {}
        if "mean" in names:
            pooled["mean"] = _mean(states if self.layer < 0 else read.hidden_states[self.layer], mask)
        if _LAYERS in names:
            pooled[_LAYERS] = torch.cat([_mean(after, mask) for after in read.hidden_states], dim=1)
        if "last" in names:
            pooled["last"] = states[torch.arange(len(ids)), mask.sum(dim=1) - 1]
        if "first" in names:
            pooled["first"] = states[:, 0]
        if LIKELIHOOD in names:
            pooled[LIKELIHOOD] = _likelihoods(model, read.last_hidden_state, batch["input_ids"], mask, starts)
        return {name: values.cpu().numpy() for name, values in pooled.items()}

    def _loaded(self) -> tuple[Any, BattleEncoder]:
        if self._model is None:
            try:
                tokenizer = load_tokenizer(self.name)
                kind = AutoModelForCausalLM if self.likelihood else AutoModel
                model: Any
                # Transformers would give BERT a head for causal language modelling, untrained.
                masked = load_config(self.name).model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
                if not (self.likelihood and masked):
                    model, _ = load_pretrained(kind, self.name, new=UNREAD, dtype=self.dtype)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise ModelError(
                    f"the backbone cannot be loaded: {one_line(error)}; in prediction, --base_model names its directory"
                ) from error
            if self.likelihood and masked:
                raise ModelError(f"{self.name} is no causal language model, which --likelihood needs")
            layers = model.config.get_text_config().num_hidden_layers
            if self.layer > layers:
                raise ModelError(f"{self.name} has {layers} layers; expected --layer {layers} at most")
            encoder = BattleEncoder(tokenizer, within_positions(model, self.max_length), SEPARATE, self.keep)
            self._model = model.to(self.device).eval(), encoder
        loaded: tuple[Any, BattleEncoder] = self._model
        return loaded

    @property
    def _layered(self) -> bool:
        """Whether more than the last states is asked for."""
        return self.layer >= 0 or self.likelihood

    def _kept_names(self) -> tuple[str, ...]:
        """What is kept of a text in the cache."""
        means = (_LAYERS, "last", "first") if self._layered else POOLINGS
        return (*means, LIKELIHOOD) if self.likelihood else means

    def _widths(self, names: tuple[str, ...]) -> dict[str, int]:
        config = self._loaded()[0].config.get_text_config()
        special = {LIKELIHOOD: LIKELIHOODS, _LAYERS: (config.num_hidden_layers + 1) * config.hidden_size}
        return {name: special.get(name, config.hidden_size) for name in names}

    def _told(self, arrays: Arrays, name: str) -> npt.NDArray[Any]:
        """What a text is told by under that name: of the means after all layers, that of the layer asked for."""
        if name != "mean" or _LAYERS not in arrays:
            return arrays[name]
        layers = np.split(arrays[_LAYERS], arrays[_LAYERS].shape[1] // arrays["last"].shape[1], axis=1)
        return layers[self.layer]

    def _file(self) -> Path:
        assert self.cache_dir is not None
        name = Path(self.name).resolve().name
        weights = sorted(Path(self.name).glob("*.safetensors"))
        # Only where they are asked for, so that what was read before they could be is still good.
        further: dict[str, Any] = {"likelihood": self.likelihood} if self._layered else {}
        about = fingerprint(
            **further,
            name=name,
            max_length=self.max_length,
            keep=self.keep,
            dtype=str(self.dtype),
            device=self.device.type,
            versions=(TRANSCRIPT_VERSION, TRUNCATION_VERSION),
            files=[(file.name, file.stat().st_size) for file in weights],
        )
        return self.cache_dir / f"{name}-{self.max_length}-{self.keep}-{about}.safetensors"

    def _read(self, *names: str) -> Arrays:
        """`keys`, `seconds` and what is told by these names; nothing where there is no cache yet."""
        asked = ["last", *(_LAYERS if name == "mean" and self._layered else name for name in names)]
        stored = self._stored(*asked)
        return {name: self._told(stored, name) for name in ("keys", "seconds", *names)} if stored else {}

    def _stored(self, *names: str) -> Arrays:
        if self.cache_dir is None or not self._file().is_file():
            return {}
        with safe_open(self._file(), "np") as stored:
            return {name: stored.get_tensor(name) for name in ("keys", "seconds", *names)}

    def _write(self, arrays: Arrays) -> None:
        self._file().parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(self._file(), save({name: np.ascontiguousarray(v) for name, v in arrays.items()}))


def _added(arrays: Arrays, more: Arrays) -> Arrays:
    """The rows of both."""
    return {name: np.concatenate([arrays[name], rows]) if arrays else rows for name, rows in more.items()}


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """float32 [texts, width]."""
    return (states.float() * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _likelihoods(
    model: Any, states: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, starts: list[int]
) -> torch.Tensor:
    """float32 [texts, 2]: mean log-probability and mean entropy of each text's tokens from its start on, in nats.

    The head reads those tokens only, some at a time: probabilities of a batch over a whole vocabulary are gigabytes.
    """
    places = torch.arange(ids.shape[1], device=ids.device)
    asked = (places >= torch.tensor(starts, device=ids.device)[:, None]) & mask.bool()
    text, place = asked.nonzero(as_tuple=True)
    head, cap = model.get_output_embeddings(), getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    sums = torch.zeros((len(ids), LIKELIHOODS), device=ids.device)
    for first in range(0, len(text), _HEAD_TOKENS):
        rows, columns = text[first : first + _HEAD_TOKENS], place[first : first + _HEAD_TOKENS]
        logits = head(states[rows, columns - 1]).float()
        if cap:
            logits = torch.tanh(logits / cap) * cap
        log_probs = torch.log_softmax(logits, dim=-1)
        told = log_probs.gather(1, ids[rows, columns][:, None])[:, 0], -(log_probs.exp() * log_probs).sum(dim=-1)
        sums.index_add_(0, rows, torch.stack(told, dim=1))
    return sums / asked.sum(dim=1, keepdim=True).clamp(min=1)
