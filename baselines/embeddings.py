"""What a frozen backbone makes of [prompt, response]: one vector a text, read once, and kept on disk where it is asked for.

Texts are rendered and cut as everywhere in this project (`reward_model.encoding`), sorted by their hash and then by length,
so a text stands in the same batch whichever side of a battle it is on, and exchanging sides changes no bit of it.

    CACHE_DIR/{backbone}-{max_length}-{keep}-{hash of all that a vector depends on}.safetensors
        keys, mean, last, first, and the seconds that reading each text took

Source: Reimers & Gurevych (2019), "Sentence-BERT", section 3, for the poolings.
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
from transformers import AutoModel

from arena_data.output import write_bytes_atomically
from arena_data.shortening import Keep
from arena_data.transcripts import TRANSCRIPT_VERSION
from arena_data.truncation import TRUNCATION_VERSION
from reward_model.backbone import (
    ModelError,
    dtype_named,
    fastest_dtype,
    load_tokenizer,
    one_line,
    quiet_transformers,
    within_positions,
)
from reward_model.encoding import BattleEncoder
from reward_model.scoring import batches
from reward_model.sequences import Sequences, distinct_sequences
from reward_model.shards import fingerprint

POOLINGS = ("mean", "last", "first")
Arrays = dict[str, npt.NDArray[Any]]
Float32Array = npt.NDArray[np.float32]

# Tokens of one batch, padding included.
BATCH_TOKENS = 4096
# Texts that are read before the cache is written again: what a run that is stopped may lose.
CHUNK = 4096
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

    `saved_seconds` is what all texts that came from the cache so far took when they were read.
    """

    def __init__(
        self,
        model_name_or_path: str,
        max_length: int,
        dtype: str = "auto",
        keep: Keep = "both",
        cache_dir: Path | None = None,
    ):
        self.name, self.max_length, self.keep, self.cache_dir = model_name_or_path, max_length, keep, cache_dir
        self.device = torch.accelerator.current_accelerator() or torch.device("cpu")
        self.dtype = fastest_dtype(self.device) if dtype == "auto" else dtype_named(dtype)
        self.saved_seconds = 0.0
        self._model: Any = None

    def sides(self, battles: datasets.Dataset, pooling: str) -> tuple[Float32Array, Float32Array]:
        """float32 [n, width] of each battle's A and of its B.

        Args:
            pooling: `mean` over tokens, or the `last` or the `first` of them.

        Raises: ModelError for a backbone that cannot be loaded, or whose states are not finite in its dtype.
        """
        sequences = distinct_sequences(battles, "separate", both_orders=False)
        if len(sequences) == 0:
            # The backbone alone knows how wide its states are.
            nothing = np.zeros((0, self._loaded()[0].config.get_text_config().hidden_size), dtype=np.float32)
            return nothing, nothing
        kept = self._read(pooling)
        place = {key.tobytes(): row for row, key in enumerate(kept["keys"])} if kept else {}
        missing = np.asarray([row for row, key in enumerate(sequences.keys) if key not in place], dtype=np.int64)
        if len(missing):
            new = self._embed(battles, sequences, missing, (pooling,) if self.cache_dir is None else POOLINGS)
            place |= {key.tobytes(): len(place) + row for row, key in enumerate(new["keys"])}
            kept = _added(kept, {name: new[name] for name in ("keys", "seconds", pooling)})
        rows = np.asarray([place[key] for key in sequences.keys], dtype=np.int64)
        self.saved_seconds += float(kept["seconds"][np.delete(rows, missing)].sum())
        vectors: Float32Array = kept[pooling][rows]
        return vectors[sequences.of_battle[:, 0]], vectors[sequences.of_battle[:, 1]]

    def _embed(
        self, battles: datasets.Dataset, sequences: Sequences, missing: npt.NDArray[np.int64], poolings: tuple[str, ...]
    ) -> Arrays:
        """The texts that are not in the cache, which is written after each chunk of them."""
        order = np.asarray(sorted(missing.tolist(), key=lambda row: sequences.keys[row]), dtype=np.int64)
        model, encoder = self._loaded()
        found: Arrays = {}
        with tqdm(total=len(order), desc="Reading", unit="text", disable=len(order) < _FEW) as bar:
            for start in range(0, len(order), CHUNK):
                chosen, started = order[start : start + CHUNK], time.perf_counter()
                ids, _ = encoder.encode_rows(sequences.texts(battles, chosen))
                chunk: Arrays = {name: np.zeros((len(ids), model.config.get_text_config().hidden_size), np.float32)
                                 for name in poolings}  # fmt: skip
                for batch in batches([len(row) for row in ids], BATCH_TOKENS):
                    for name, states in self._states(model, encoder, [ids[row] for row in batch], poolings).items():
                        chunk[name][batch] = states
                    bar.update(len(batch))
                keys = np.frombuffer(b"".join(sequences.keys[row] for row in chosen), dtype=np.uint8)
                chunk["keys"] = keys.reshape(len(chosen), -1)
                chunk["seconds"] = np.full(len(chosen), (time.perf_counter() - started) / len(chosen))
                found = _added(found, chunk)
                if self.cache_dir is not None:
                    self._write(_added(self._read(*POOLINGS), chunk))
        return found

    @torch.no_grad()
    def _states(
        self, model: Any, encoder: BattleEncoder, ids: list[list[int]], poolings: tuple[str, ...]
    ) -> dict[str, Float32Array]:
        """float32 [texts, width] for each pooling."""
        batch = encoder.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.device)
        mask = batch["attention_mask"]
        states = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state.float()
        if not torch.isfinite(states[mask.bool()]).all():
            raise ModelError(f"{self.name}: its states are not finite in {self.dtype}; choose --dtype float32")
        found = {}
        if "mean" in poolings:
            found["mean"] = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        if "last" in poolings:
            found["last"] = states[torch.arange(len(ids)), mask.sum(dim=1) - 1]
        if "first" in poolings:
            found["first"] = states[:, 0]
        return {name: values.cpu().numpy() for name, values in found.items()}

    def _loaded(self) -> tuple[Any, BattleEncoder]:
        if self._model is None:
            try:
                tokenizer = load_tokenizer(self.name)
                with quiet_transformers():
                    model = AutoModel.from_pretrained(self.name, dtype=self.dtype)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise ModelError(
                    f"the backbone cannot be loaded: {one_line(error)}; in prediction, --base_model names its directory"
                ) from error
            encoder = BattleEncoder(tokenizer, within_positions(model, self.max_length), "separate", self.keep)
            self._model = model.to(self.device).eval(), encoder
        loaded: tuple[Any, BattleEncoder] = self._model
        return loaded

    def _file(self) -> Path:
        assert self.cache_dir is not None
        name = Path(self.name).resolve().name
        weights = sorted(Path(self.name).glob("*.safetensors"))
        about = fingerprint(
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
        """`keys`, `seconds` and the arrays of these poolings; nothing where there is no cache yet."""
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
