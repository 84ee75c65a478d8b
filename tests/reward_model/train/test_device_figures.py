"""A GPU is made to wait once an optimizer step and once a log entry, never once a batch; the figures stay right.

There is no GPU in the tests. What makes one wait is counted instead: operations that give Python a number, or a tensor
whose shape depends on numbers.
"""

import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reward_model.model.score_layer import install_score_layer
from reward_model.tokens.tokenizer import prepare_tokenizer
from reward_model.train.device_figures import DeviceFigures, NotFiniteError
from reward_model.train.settings.config import TieRewardConfig
from reward_model.train.trainer import TieRewardTrainer
from tests.helpers.tiny_models import byte_tokenizer, tiny_llama

OURS = str(Path(__file__).parents[3] / "reward_model")
# How a model is read has tests of its own; batches are made on the CPU.
ELSEWHERE = ("packed_reader.py", "plain_attention.py", "collator.py")


class Waits(TorchDispatchMode):
    """The places in this project's code where a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function)
        masked = "index" in name and any(
            isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args)
        )
        if "_local_scalar_dense" in name or "nonzero" in name or masked:
            frame: Any = sys._getframe(1)
            while frame is not None and "/torch/" in frame.f_code.co_filename:
                frame = frame.f_back
            place = frame.f_code.co_filename if frame is not None else ""
            if place.startswith(OURS) and not place.endswith(ELSEWHERE):
                self.places.append(f"{Path(place).name}:{frame.f_lineno}")
        return function(*args, **(kwargs or {}))


def batches_of(count: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [
        {
            "input_ids_a": [5, *random.integers(4, 200, 8 + row % 3).tolist()],
            "input_ids_b": [5, *random.integers(4, 200, 8 + row % 5).tolist()],
            "labels": np.eye(3)[row % 3].tolist(),
            "index": row,
            "length_a": 9 + row % 3,
            "length_b": 9 + row % 5,
        }
        for row in range(count)
    ]


@pytest.mark.parametrize("padding_free", [True, False])
def test_a_step_is_waited_for_once_however_many_batches_it_has(padding_free: bool, tmp_path: Path) -> None:
    tokenizer = prepare_tokenizer(byte_tokenizer())
    model = tiny_llama(tokenizer)
    install_score_layer(model, style_features=0, tie_bias=0.0)
    arguments = TieRewardConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        disable_tqdm=True,
        batch_tokens=64,
        gradient_accumulation_steps=4,
        max_steps=2,
        logging_steps=2,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        padding_free=padding_free,
    )
    data = datasets.Dataset.from_list(batches_of(24))
    trainer = TieRewardTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer)
    assert (trainer._packed is not None) == padding_free
    with Waits() as waits:
        trainer.train()
    assert sum("device_figures.py" in place for place in waits.places) == 2  # the losses, once a step
    assert [place for place in waits.places if "device_figures.py" not in place] == []
    entry = trainer.state.log_history[0]
    assert 0 < entry["log_loss"] < 3 and 0 <= entry["accuracy"] <= 1 and entry["margin"] >= 0


def test_figures_come_out_as_they_went_in() -> None:
    kept = DeviceFigures()
    assert kept.take() == {}
    for value in (1.0, 2.0):
        kept.add({"a": torch.tensor(value), "b": torch.tensor(10 * value)})
    assert kept.take() == {"a": [1.0, 2.0], "b": [10.0, 20.0]}
    assert kept.take() == {}


def test_the_batch_that_is_not_finite_is_named_even_if_it_is_not_the_last() -> None:
    kept = DeviceFigures()
    kept.add_loss(7, torch.tensor([3, 4]), torch.tensor([1.0, float("inf")]))
    kept.add_loss(7, torch.tensor([5]), torch.tensor([1.0]))
    with pytest.raises(NotFiniteError, match=r"at step 7 on training battles \[4\]"):
        kept.check_losses()
    kept.check_losses()  # what was told is forgotten
