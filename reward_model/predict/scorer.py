"""Token ids in, value and tie strength out: batches of a token budget, and no row ever lost.

Rows are read end to end (`reward_model.model.packed_reader`), or padded where a model cannot be read like that: then
rows of like length share a batch, so little is padded, and never to max_length. When memory runs out the batch is split
and the budget stays lowered; a row that fails alone, or whose scores are not finite, is left as NaN and named.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from reward_model.errors import ModelError, one_line
from reward_model.model.cpu_memory import keep_freed_memory
from reward_model.model.packed_linear import pack_linear_layers
from reward_model.model.packed_reader import PackedReader, packed_reader
from reward_model.model.score_layer import last_positions, score_inputs
from reward_model.run_directory.load_model import LoadedModel
from reward_model.tokens.layout import lengths_packed
from reward_model.tokens.token_budget import batches, packs, padded

# More would not fit the caches of a CPU core's neighbours, and gains nothing there.
CPU_BATCH_TOKENS = 4096
LEAST_TOKENS, MOST_TOKENS = 2048, 131072
PROBE_TOKENS = 1024
MEMORY_SHARE = 0.7

FloatArray = npt.NDArray[np.float32]


class Scorer:
    """Scores sequences with one model, whose linear layers it makes its own (`reward_model.model.packed_linear`).

    Args:
        loaded: the model.
        batch_tokens: tokens of a batch, padding included; measured on the device if None.
        max_length: of the longest row that will come.
        packing: read rows end to end without padding, where the model can be read like that.

    Raises: ModelError for a model that cannot score even a short text: then it is not the rows that are to blame.
    """

    def __init__(
        self, loaded: LoadedModel, batch_tokens: int | None = None, max_length: int = 512, packing: bool = True
    ):
        self.loaded = loaded
        self.first_error: str | None = None
        self.packed: PackedReader | None = None
        if loaded.device.type == "cpu":
            keep_freed_memory()
            pack_linear_layers(loaded.model)
        self._check()
        if packing:
            self.packed = packed_reader(loaded.model, max_length)
        self.batch_tokens = batch_tokens or self._measured_budget(max_length)

    @torch.inference_mode()
    def score(self, rows: Sequence[Sequence[int]]) -> FloatArray:
        """float32 [rows, 2]: value and tie strength of each row of token ids; NaN where it cannot be scored."""
        scores = np.full((len(rows), 2), np.nan, dtype=np.float32)
        waiting = self._batches(rows)[::-1]
        while waiting:
            batch = waiting.pop()
            try:
                scores[batch] = self._forward([rows[row] for row in batch])
            except (RuntimeError, IndexError, MemoryError) as error:
                tokens = sum(len(rows[row]) for row in batch)
                if is_out_of_memory(error):
                    self._lower(tokens)
                if len(batch) == 1:
                    self.first_error = self.first_error or one_line(error)
                    continue
                # Whatever it was, smaller batches find the row that is to blame.
                half = len(batch) // 2
                waiting += [batch[half:], batch[:half]]
        scores[~np.isfinite(scores).all(axis=1)] = np.nan
        return scores

    @torch.inference_mode()
    def _check(self) -> None:
        tokenizer = self.loaded.tokenizer
        try:
            scores = self._forward([tokenizer("Hello.")["input_ids"] or [tokenizer.pad_token_id or 0]])
        except (RuntimeError, IndexError, NotImplementedError) as error:
            raise ModelError(f"the model cannot score any text ({one_line(error)})") from error
        if not np.isfinite(scores).all():
            raise ModelError(
                f"the model's scores are not finite in {str(self.loaded.dtype).removeprefix('torch.')}; try another --dtype"
            )

    def _batches(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        if self.packed is not None:
            return packs(lengths_packed(rows, self.packed.causal), self.batch_tokens)
        return batches([len(row) for row in rows], self.batch_tokens)

    def _forward(self, rows: Sequence[Sequence[int]]) -> FloatArray:
        scores = self.packed.scores(rows) if self.packed is not None else self._padded(rows)
        values: FloatArray = scores.float().cpu().numpy()
        return values

    def _padded(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        model, device = self.loaded.model, self.loaded.device
        input_ids, attention_mask = padded(rows, int(self.loaded.tokenizer.pad_token_id or 0))
        positions = last_positions(attention_mask).to(device)
        # Without padding no mask is needed, and attention takes its fastest way.
        mask = None if bool(attention_mask.all()) else attention_mask.to(device)
        with score_inputs(model, positions=positions):
            scores: torch.Tensor = model(input_ids=input_ids.to(device), attention_mask=mask).logits
        return scores

    def _lower(self, tokens: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        lowered = max(1, tokens // 2)
        if lowered < self.batch_tokens:
            self.batch_tokens = lowered
            warnings.warn(f"out of memory: batches are of {lowered:,} tokens from here on", stacklevel=2)

    def _measured_budget(self, max_length: int) -> int:
        """As many tokens as fill most of the device's free memory, going by what a small batch takes."""
        device = self.loaded.device
        if device.type != "cuda":
            return max(CPU_BATCH_TOKENS, max_length)
        rows = [[0] * min(PROBE_TOKENS, max_length)] * max(1, PROBE_TOKENS // max_length)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        with torch.inference_mode():
            self._forward(rows)
        taken = max(1, torch.cuda.max_memory_allocated(device) - before)
        free, _ = torch.cuda.mem_get_info(device)
        affordable = int(MEMORY_SHARE * free / taken * sum(map(len, rows)))
        return max(LEAST_TOKENS, max_length, min(MOST_TOKENS, affordable))


def is_out_of_memory(error: BaseException) -> bool:
    """Of a GPU (torch's own error) or of the machine (an allocation that was refused)."""
    refused = ("can't allocate memory", "not enough memory", "cannot allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in refused)
