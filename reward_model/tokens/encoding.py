"""Battles in, token ids out: rendered, tokenised in batches, and cut to the budget where they are over it; no row dropped.

A battle becomes two rows, `input_ids_a`, which leads with A, and `input_ids_b`, which leads with B; what a row holds is for
the encoding to say (`reward_model.tokens.encodings`). Nearly all rows fit, so everything is tokenised in one pass. Only the
others take the slow road through `arena_data.transcripts.truncation`.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from arena_data.quiet import quiet_datasets
from arena_data.transcripts.rendering import adds_special_tokens
from arena_data.transcripts.shortening import Keep
from arena_data.transcripts.truncation import TooSmallError, TruncationReport, truncation_report
from reward_model.tokens.encodings import SEPARATE, Encoding, Texts

SIDES = ("a", "b")


@dataclass(frozen=True)
class BattleEncoder:
    """Encodes battles with one tokenizer and one budget.

    Args:
        tokenizer: a fast tokenizer, prepared by `prepare_tokenizer`.
        max_length: the budget of one row, tokens, special tokens included.
        encoding: what a row holds.
        keep: which end of a cut text is kept: `both`, `head` or `tail`.

    Raises: ValueError for a budget too small for the template.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    encoding: Encoding = SEPARATE
    keep: Keep = "both"

    def __post_init__(self) -> None:
        self._truncation()  # Refuses a budget too small before any battle is read.

    @property
    def least_max_length(self) -> int:
        """The smallest budget that this tokenizer and template can do with."""
        least: int = self._truncation().least_max_length + len(self._closing())
        return least

    def _truncation(self) -> Any:
        room = self.max_length - len(self._closing())
        try:
            return self.encoding.truncation(self.tokenizer, room, self.keep)
        except TooSmallError as error:  # it knows nothing of the closing token
            raise TooSmallError(self.max_length, error.least + len(self._closing())) from None

    def _closing(self) -> list[int]:
        """EOS, where neither a template nor the tokenizer ends a text and where it is not the pad token.

        Stock pooling takes the last token that is not padding: an EOS that is the pad token would be passed over there.
        """
        tokenizer = self.tokenizer
        eos = tokenizer.eos_token_id
        if not adds_special_tokens(tokenizer) or eos is None or eos == tokenizer.pad_token_id:
            return []
        ends = tokenizer("a")["input_ids"][-1:]
        special = {eos, tokenizer.sep_token_id}
        return [] if ends and ends[0] in special else [eos]

    def __call__(self, battles: datasets.Dataset, *, progress: bool = False) -> datasets.Dataset:
        """Columns `input_ids_a`, `input_ids_b`, `tokens_cut` (of the longer loss of the two rows), in the same order."""

        def encode(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
            rows = list(zip(batch["prompt"], batch["response_a"], batch["response_b"], strict=True))
            columns: dict[str, list[Any]] = {}
            cut = np.zeros(len(rows), dtype=np.int64)
            for side in SIDES:
                ordered = rows if side == "a" else [(prompt, b, a) for prompt, a, b in rows]
                columns[f"input_ids_{side}"], cut_here = self.encode_rows(ordered)
                cut = np.maximum(cut, cut_here)
            return columns | {"tokens_cut": cut.tolist()}

        return _mapped(battles, encode, progress)

    def encode_rows(self, rows: Sequence[Texts]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each (prompt, first response, second response), and how many tokens of its texts were cut.

        A separate encoding reads the first response only.
        """
        ids, cut, _ = self._encode(rows)
        return ids, cut

    def encode_with_starts(self, rows: Sequence[Texts]) -> tuple[list[list[int]], list[int]]:
        """Token ids as of `encode_rows`, and where the last turn of each (first) response begins, of a separate encoding.

        It begins where the row parts from the same row with nothing in that turn's place; what closes it belongs to it,
        so it has a token even where it is empty.
        """
        ids, _, read = self._encode(rows)
        unanswered = self._tokenize([(prompt, _unanswered(prompt, first), None) for prompt, first, _ in read])
        return ids, [max(1, _common(*pair)) for pair in zip(ids, unanswered, strict=True)]

    def _encode(self, rows: Sequence[Texts]) -> tuple[list[list[int]], list[int], list[Texts]]:
        """Token ids, tokens cut, and the rows as they are read, which are the given ones where nothing was cut."""
        truncation, closing = self._truncation(), self._closing()
        ids, read = self._tokenize(rows), list(rows)
        cut = [0] * len(rows)
        for index, row in enumerate(rows):
            if len(ids[index]) <= truncation.max_length:
                continue
            read[index], cut[index] = self.encoding.shortened(truncation, row)
            ids[index] = self._tokenize([read[index]])[0]
        return [row + closing for row in ids], cut, read

    def _tokenize(self, rows: Sequence[Texts]) -> list[list[int]]:
        encoded = self.tokenizer(
            [self.encoding.render(self.tokenizer, row) for row in rows],
            add_special_tokens=adds_special_tokens(self.tokenizer),
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return [list(row) for row in encoded["input_ids"]]


def _unanswered(prompt: Sequence[Any], response: Sequence[Any]) -> list[Any]:
    """The response with nothing in its last turn, or as it is where it has fewer turns than the prompt."""
    return list(response) if len(response) < len(prompt) else [*response[:-1], ""]


def _common(row: list[int], other: list[int]) -> int:
    """How many tokens both begin with; less than the row has, where it has any."""
    pairs = zip(row[:-1], other, strict=False)
    return next((place for place, (one, two) in enumerate(pairs) if one != two), min(len(row) - 1, len(other)))


def _mapped(battles: datasets.Dataset, encode: Any, progress: bool) -> datasets.Dataset:
    """`Dataset.map` without its cache: the fingerprint of a tokenizer changes with its state, so it would rarely hit."""
    with contextlib.nullcontext() if progress else quiet_datasets():
        return battles.map(
            encode,
            batched=True,
            batch_size=256,
            remove_columns=battles.column_names,
            desc="Tokenizing",
            load_from_cache_file=False,
            keep_in_memory=True,
        )


def truncation_summary(encoded: datasets.Dataset, max_length: int) -> TruncationReport:
    """How many battles were cut, and by how much."""
    return truncation_report(list(encoded["tokens_cut"]), max_length)
