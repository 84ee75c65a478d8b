"""Token ids in, value and tie strength out: batches of a token budget, and no row ever lost.

Rows are read end to end (`reward_model.model.packed.reader`), or padded where a model cannot be read like that: then
rows of like length share a batch, so little is padded, and never to max_length. When memory runs out the batch is split
and the budget stays lowered; a row that fails alone, or whose scores are not finite, is left as NaN and named.
"""

import contextlib
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from reward_model.errors import ModelError, one_line
from reward_model.model.backbone import without_cache
from reward_model.model.device import Lanes, gpus_of
from reward_model.model.packed.check import packed_reader
from reward_model.model.packed.cpu_memory import keep_freed_memory
from reward_model.model.packed.linear import pack_linear_layers
from reward_model.model.packed.reader import PackedReader
from reward_model.model.score_layer import last_positions, score_inputs
from reward_model.run_directory.load_model import LoadedModel
from reward_model.tokens.layout import lengths_packed, sent
from reward_model.tokens.token_budget import batches, packs, padded

# More would not fit the caches of a CPU core's neighbours, and gains nothing there.
CPU_BATCH_TOKENS = 4096
LEAST_TOKENS, MOST_TOKENS = 2048, 131072
PROBE_TOKENS = 1024
MEMORY_SHARE = 0.7

FloatArray = npt.NDArray[np.float32]


class Scorer:
    """Scores sequences with one model, whose linear layers it makes its own (`reward_model.model.packed.linear`).

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
        self.lanes = Lanes(gpus_of(loaded.model))
        if loaded.device.type == "cpu":
            keep_freed_memory()
            pack_linear_layers(loaded.model)
        self._check()
        if packing:
            self.packed = packed_reader(loaded.model, max_length)
        self.batch_tokens = batch_tokens or self._memory_budget(max_length)

    @torch.inference_mode()
    def score(self, rows: Sequence[Sequence[int]], check: Callable[[], None] = lambda: None) -> FloatArray:
        """float32 [rows, 2]: value and tie strength of each row of token ids; NaN where it cannot be scored.

        Args:
            check: called before each batch; what it raises ends the scoring.

        Raises: ModelError where the GPU stopped at an error that all later calls would meet as well.
        """
        queued: list[tuple[list[int], torch.Tensor]] = []
        waiting = self._batches(rows, range(len(rows)))
        while waiting:
            check()
            batch = waiting.popleft()
            failure = self._attempt(rows, batch, queued)
            if failure is None:
                continue
            if failure.out_of_memory:
                self._lower([len(rows[row]) for row in batch])
            if len(batch) == 1:
                self.first_error = self.first_error or failure.reason
            elif not failure.out_of_memory:
                # Whatever it was, smaller batches find the row that is to blame.
                half = len(batch) // 2
                waiting.extendleft([batch[half:], batch[:half]])
                continue
            if failure.out_of_memory:
                # What waits was cut for the budget that turned out too large.
                left = [*(batch if len(batch) > 1 else []), *(row for other in waiting for row in other)]
                waiting = self._batches(rows, sorted(left))
        scores = np.full((len(rows), 2), np.nan, dtype=np.float32)
        with _final_errors():
            self.lanes.wait()
            for batch, values in queued:
                scores[batch] = as_array(values)
        scores[~np.isfinite(scores).all(axis=1)] = np.nan
        return scores

    def _attempt(
        self, rows: Sequence[Sequence[int]], batch: list[int], queued: list[tuple[list[int], torch.Tensor]]
    ) -> "Failure | None":
        """Queues a batch; its scores are fetched when all are queued, so that a GPU never waits for the next.

        Returns after the exception is gone, whose traceback would keep the batch's activations.
        """
        try:
            with _final_errors(), self.lanes.next():
                queued.append((batch, self._forward([rows[row] for row in batch])))
        except (RuntimeError, IndexError, MemoryError) as error:
            return Failure(one_line(error), is_out_of_memory(error))
        return None

    @torch.inference_mode()
    def _check(self) -> None:
        tokenizer = self.loaded.tokenizer
        try:
            scores = as_array(self._forward([tokenizer("Hello.")["input_ids"] or [tokenizer.pad_token_id or 0]]))
        except (RuntimeError, IndexError, NotImplementedError) as error:
            raise ModelError(f"the model cannot score any text ({one_line(error)})") from error
        if not np.isfinite(scores).all():
            raise ModelError(
                f"the model's scores are not finite in {str(self.loaded.dtype).removeprefix('torch.')}; try another --dtype"
            )

    def _batches(self, rows: Sequence[Sequence[int]], places: Sequence[int]) -> deque[list[int]]:
        """Batches of the rows in these places, within the budget as it is now."""
        chosen = [rows[place] for place in places]
        if self.packed is not None:
            planned = packs(lengths_packed(chosen, self.packed.causal), self.batch_tokens)
        else:
            planned = batches([len(row) for row in chosen], self.batch_tokens)
        return deque([places[row] for row in batch] for batch in planned)

    def _forward(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """float32 [rows, 2], on the device that has computed them."""
        return (self.packed.scores(rows) if self.packed is not None else self._padded(rows)).float()

    def _padded(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        model, device = self.loaded.model, self.loaded.device
        input_ids, attention_mask = padded(rows, int(self.loaded.tokenizer.pad_token_id or 0))
        positions = sent(last_positions(attention_mask), device)
        # Without padding no mask is needed, and attention takes its fastest way.
        mask = None if bool(attention_mask.all()) else sent(attention_mask, device)
        with score_inputs(model, positions=positions):
            scores: torch.Tensor = model(
                input_ids=sent(input_ids, device), attention_mask=mask, **without_cache(model)
            ).logits
        return scores

    def _lower(self, lengths: Sequence[int]) -> None:
        """Sets the budget to half of what the failed batch held. lengths: of the batch's rows."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        lowered = max(1, sum(lengths) // 2)
        if len(lengths) > 1:  # rows that share a beginning hold less than their sum
            lowered = max(1, min(lowered, self.batch_tokens // 2))
        if lowered < self.batch_tokens:
            self.batch_tokens = lowered
            warnings.warn(f"out of memory: batches are of {lowered:,} tokens from here on", stacklevel=2)

    def _memory_budget(self, max_length: int) -> int:
        """As many tokens as fill most of the device's free memory, going by what rows of `max_length` take."""
        if self.loaded.device.type != "cuda":
            return max(CPU_BATCH_TOKENS, max_length)
        # As long as the longest that will come: attention that is not fused takes memory by the square of a row's length.
        # Neighbours begin differently, or a packed model would read their common beginning once.
        rows = [[place % 2] + [0] * (max_length - 1) for place in range(max(1, PROBE_TOKENS // max_length))]
        devices = self.lanes.devices or [self.loaded.device]
        before = [torch.cuda.memory_allocated(device) for device in devices]
        for device in devices:
            torch.cuda.reset_peak_memory_stats(device)
        if self._runs_out_of_memory(rows):
            torch.cuda.empty_cache()
            return max(LEAST_TOKENS, max_length)
        shares = []
        for device, held in zip(devices, before, strict=True):
            taken = max(1, torch.cuda.max_memory_allocated(device) - held)
            free, _ = torch.cuda.mem_get_info(device)
            # PyTorch keeps what it has freed; the driver counts that as taken.
            free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            shares.append(free / taken)
        # Each lane has a batch of its own.
        affordable = int(MEMORY_SHARE * min(shares) / self.lanes.count * sum(map(len, rows)))
        return max(LEAST_TOKENS, max_length, min(MOST_TOKENS, affordable))

    def _runs_out_of_memory(self, rows: Sequence[Sequence[int]]) -> bool:
        try:
            with torch.inference_mode():
                self._forward(rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise ModelError(
                    f"the model cannot score a row of {len(rows[0]):,} tokens ({one_line(error)})"
                ) from error
            return True
        return False


def as_array(scores: torch.Tensor) -> FloatArray:
    """The scores in main memory; waits for the device that computes them."""
    values: FloatArray = torch.as_tensor(scores).float().cpu().numpy()
    return values


@contextlib.contextmanager
def _final_errors() -> Iterator[None]:
    """Raises: ModelError in the place of a GPU's error that all later calls would meet as well."""
    try:
        yield
    except RuntimeError as error:
        if not is_final(error):
            raise
        raise ModelError(
            f"the GPU stopped ({one_line(error)}) and can compute nothing more in this process; the same command "
            "goes on from the finished shards; CUDA_LAUNCH_BLOCKING=1 names the operation that failed"
        ) from error


@dataclass(frozen=True)
class Failure:
    """Why a batch could not be scored."""

    reason: str
    out_of_memory: bool


def is_out_of_memory(error: BaseException) -> bool:
    """Of a GPU (torch's own error, or a driver's or cuBLAS's) or of the machine (an allocation that was refused)."""
    refused = (
        "can't allocate memory",
        "not enough memory",
        "cannot allocate memory",
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
    )
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in refused)


def is_final(error: BaseException) -> bool:
    """Of a GPU whose context is lost: every later call in this process fails too, whatever its rows are.

    Source: https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html, "the process must be terminated and
    relaunched".
    """
    if is_out_of_memory(error):
        return False
    lost = ("CUDA error", "HIP error", "device-side assert", "illegal memory access")
    return isinstance(error, torch.AcceleratorError) or any(text in str(error) for text in lost)
