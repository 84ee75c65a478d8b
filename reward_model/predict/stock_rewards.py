"""The rewards of a stock one-label model, by stock code alone: its own template, tokens, padding and pooling.

A conversation is written by the tokenizer's chat template, as model cards show it, and cut where the tokenizer cuts. A
tokenizer without a template is an encoder's: it reads the conversation and the answer as a pair of texts. One without a
pad token reads one conversation at a time, because stock pooling could not tell where another one ends.

Source: https://huggingface.co/docs/transformers/chat_templating, and the cards of Skywork-Reward and
reward-model-deberta-v3-large-v2.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from arena_data.transcripts.rendering import Turns, conversation, plain_text
from reward_model.errors import ModelError, one_line
from reward_model.model.backbone import dtype_named
from reward_model.model.device import compute_on, named_device
from reward_model.model.pretrained import load_pretrained
from reward_model.predict.member import FloatArray
from reward_model.run_directory.stock import check_stock

BATCH_TOKENS = 4096
# A tokenizer that knows no limit says so with a number of thirty digits.
_NO_LIMIT = 10**9


class StockScorer:
    """A model and its tokenizer, loaded.

    Args:
        name: directory or Hub id.
        revision: of a Hub id.
        dtype: `auto` for the one its weights are stored in, else float32, bfloat16 or float16.
        device: such as `cpu`; the first accelerator if None.
        batch_tokens: tokens of a batch, padding included.
        max_length: tokens that a conversation is cut to, in the place of the model's own limit.

    Raises: ModelError, one line, for a model that is no stock reward model or cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        revision: str | None = None,
        *,
        dtype: str = "auto",
        device: str | None = None,
        batch_tokens: int | None = None,
        max_length: int | None = None,
    ):
        check_stock(name)
        self.name, self.batch_tokens = name, batch_tokens or BATCH_TOKENS
        place = named_device(device)
        compute_on(place)
        settings: dict[str, Any] = {"revision": revision} if revision else {}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **settings)
            chosen = "auto" if dtype == "auto" else dtype_named(dtype)
            model, _ = load_pretrained(AutoModelForSequenceClassification, name, dtype=chosen, **settings)
        except ModelError:
            raise
        except Exception as error:  # each library has its own way of refusing a broken file
            raise ModelError(f"{name}: cannot be loaded ({one_line(error)})") from error
        self.model = model.eval().to(place)
        self.max_length = self._limit(max_length)
        if not self.tokenizer.chat_template and self.tokenizer.sep_token_id is None:
            raise ModelError(
                f"{name}: its tokenizer has neither a chat template nor a separator; put its card's template into "
                "chat_template.jinja beside it"
            )

    def rewards(self, prompts: Sequence[Turns], responses: Sequence[Turns]) -> tuple[FloatArray, np.ndarray]:
        """float64 [n], the logits, and bool [n], whether the conversation was cut."""
        inputs, cut = self.encode(prompts, responses)
        return self.score(inputs), cut > 0

    def encode(
        self, prompts: Sequence[Turns], responses: Sequence[Turns], max_length: int | None = None
    ) -> tuple[list[dict[str, list[int]]], np.ndarray]:
        """The model's inputs, and int64 [n], the tokens of each conversation that were cut.

        Args:
            max_length: tokens that a conversation is cut to; `self.max_length` if None.
        """
        pairs = zip(prompts, responses, strict=True)
        encoded = [self._encoded(prompt, response, max_length or self.max_length) for prompt, response in pairs]
        return [inputs for inputs, _ in encoded], np.array([cut for _, cut in encoded], dtype=np.int64)

    def score(self, inputs: Sequence[dict[str, list[int]]], check: Callable[[], None] | None = None) -> FloatArray:
        """float64 [n], the logits. check: called before each batch, if given; what it raises ends the loop."""
        rewards = np.empty(len(inputs))
        for batch in self._batches(np.array([len(row["input_ids"]) for row in inputs], dtype=np.int64)):
            if check is not None:
                check()
            rewards[batch] = self._scored([inputs[row] for row in batch])
        return rewards

    def _limit(self, wanted: int | None) -> int | None:
        config = self.model.config.get_text_config()
        known = [
            limit
            for limit in (wanted, self.tokenizer.model_max_length, getattr(config, "max_position_embeddings", None))
            if limit is not None and 0 < limit < _NO_LIMIT
        ]
        return min(known, default=None)

    def _encoded(self, prompt: Turns, response: Turns, max_length: int | None) -> tuple[dict[str, list[int]], int]:
        """The model's inputs, and the tokens that were cut."""
        messages = conversation(prompt, response)
        if self.tokenizer.chat_template:
            texts = [self.tokenizer.apply_chat_template(messages, tokenize=False)]
        else:
            asked = messages[0]["content"] if len(messages) == 2 else plain_text(messages[:-1])
            texts = [asked, messages[-1]["content"]]
        # A template writes its special tokens itself; a pair's are the tokenizer's.
        options = {"add_special_tokens": len(texts) == 2, "verbose": False}
        inputs = self.tokenizer(*texts, **options)
        if max_length is None or (tokens := len(inputs["input_ids"])) <= max_length:
            return dict(inputs), 0
        return dict(self.tokenizer(*texts, truncation=True, max_length=max_length, **options)), tokens - max_length

    def _batches(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Rows of like lengths, longest first, so that what is too large fails at once."""
        order = np.argsort(-lengths, kind="stable")
        if self.tokenizer.pad_token_id is None or self.model.config.get_text_config().pad_token_id is None:
            return [order[row : row + 1] for row in range(len(order))]
        batches, start = [], 0
        while start < len(order):
            size = max(1, self.batch_tokens // max(1, int(lengths[order[start]])))
            batches.append(order[start : start + size])
            start += size
        return batches

    @torch.inference_mode()
    def _scored(self, batch: list[dict[str, list[int]]]) -> FloatArray:
        padded = self.tokenizer.pad(batch, return_tensors="pt") if len(batch) > 1 else _tensors(batch[0])
        logits: FloatArray = self.model(**padded.to(self.model.device)).logits[:, 0].double().cpu().numpy()
        return logits


def _tensors(inputs: dict[str, list[int]]) -> Any:
    from transformers import BatchEncoding

    return BatchEncoding({name: [values] for name, values in inputs.items()}, tensor_type="pt")


def stock_rewards(directory: Path, prompts: Sequence[Any], responses: Sequence[Any], device: str | None) -> FloatArray:
    """float64 [n]: the rewards of a model directory, read once."""
    return StockScorer(str(directory), device=device).rewards(prompts, responses)[0]
