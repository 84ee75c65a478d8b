"""A model whose parts are on several devices, as `--device_map balanced` spreads it: same numbers, nothing left behind.

Accelerate's hooks are real. There are no two GPUs in the tests: a second device is the CPU again, where numbers are
compared, or `meta`, where every operation is watched for tensors of both.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import MistralConfig, MistralForSequenceClassification

from reward_model.errors import ModelError
from reward_model.model.device import Lanes, check_on_gpus, gpus_of
from reward_model.model.packed.reader import PackedReader
from reward_model.model.score_layer import install_score_layer
from reward_model.predict.scorer import Scorer
from reward_model.run_directory.load_model import LoadedModel, LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from reward_model.tokens.layout import lay_out
from tests.helpers.tiny_models import SIZES

ROWS = [[7 + row // 3] * 20 + [9 + row] * (3 + 5 * row) for row in range(12)]
FIRST = ("model.embed_tokens", "model.rotary_emb", "model.layers.0")
SECOND = ("model.layers.1", "model.norm", "score")


def spread(stock: Any, second: str) -> None:
    parts = dict.fromkeys(FIRST, "cpu") | dict.fromkeys(SECOND, second)
    accelerate.dispatch_model(stock, parts, main_device="cpu", force_hooks=True)


def loaded(run: Path) -> LoadedModel:
    return load_run_model(read_run(run), LoadOptions(dtype="float32", device="cpu"))


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("name", ["llama", "llama-adapter"])
def test_hooks_change_no_score(name: str, packing: bool, runs: dict[str, Path]) -> None:
    plain, hooked = loaded(runs[name]), loaded(runs[name])
    stock = hooked.model.get_base_model() if name.endswith("adapter") else hooked.model
    spread(stock, "cpu")
    assert hasattr(stock.model.layers[1], "_hf_hook")
    scorer = Scorer(hooked, packing=packing)
    assert (scorer.packed is not None) == packing
    np.testing.assert_allclose(scorer.score(ROWS), Scorer(plain, packing=packing).score(ROWS), atol=1e-6)


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of several devices; remembers where each ran. Copies and numbers may cross."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        tensors = [tensor for tensor in _tensors([arguments, options or {}]) if tensor.ndim]
        devices = {tensor.device.type for tensor in tensors}
        if "copy" not in str(operation):
            assert len(devices) <= 1, f"{operation} has tensors on {devices}"
            self.devices += devices
        return operation(*arguments, **(options or {}))


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict | list | tuple):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _tensors(value)


@pytest.mark.parametrize("window", [None, 8])
def test_packed_attention_follows_its_layer_to_another_device(window: int | None) -> None:
    """Masks, positions and pieces are made where each layer is."""
    config = MistralConfig(**SIZES, vocab_size=260, num_key_value_heads=1, sliding_window=window)
    model: Any = MistralForSequenceClassification(config)
    install_score_layer(model, style_features=0, tie_bias=0.0)
    spread(model.eval(), "meta")
    reader = PackedReader(model)
    packed = lay_out(ROWS, reader.causal)
    assert any(piece.shared for piece in packed["pieces"])
    # What moves the result back to where the inputs came from would copy no numbers from meta.
    model._hf_hook.io_same_device = False
    with torch.inference_mode(), reader.reading(), OneDevice() as watch:
        scores = reader.logits(model, packed)
    assert scores.device.type == "meta" and scores.shape == (len(ROWS), 2)
    assert set(watch.devices) == {"cpu", "meta"}


def test_scores_are_fetched_when_all_batches_are_queued(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(loaded(runs["llama"]), batch_tokens=120)
    expected, events = scorer.score(ROWS), []
    forward = Scorer._forward

    def noted(self: Scorer, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        events.append("queued")
        return forward(self, rows)

    def fetched(scores: torch.Tensor) -> Any:
        events.append("fetched")
        return scores.numpy()

    monkeypatch.setattr(Scorer, "_forward", noted)
    monkeypatch.setattr("reward_model.predict.scorer.as_array", fetched)
    np.testing.assert_array_equal(scorer.score(ROWS), expected)
    batches = len(events) // 2
    assert batches > 3 and events == ["queued"] * batches + ["fetched"] * batches


@pytest.mark.parametrize(
    ("options", "gpus", "message"),
    [
        ({}, 1, "several GPUs, and this machine has 1"),
        ({"device": "cpu"}, 2, "--device needs it on one device"),
        ({"merge": True}, 2, "--merge needs it on one device"),
        ({"device_map": "auto"}, 2, "device_map is 'auto'; expected balanced"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: dict[str, Any], gpus: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(ModelError, match=message):
        LoadOptions(**{"device_map": "balanced"} | options)


def test_a_model_that_does_not_fit_all_gpus_is_refused() -> None:
    model = torch.nn.Linear(1, 1)
    model.hf_device_map = {"layers.0": 0, "layers.1": 1, "layers.2": "cpu"}  # type: ignore[assignment]
    with pytest.raises(ModelError, match=r"1 of 3 parts are left over; add --load_in_4bit"):
        check_on_gpus(model)
    model.hf_device_map = {"layers.0": 0, "layers.1": 1}  # type: ignore[assignment]
    check_on_gpus(model)


def test_one_device_has_no_lanes() -> None:
    model = torch.nn.Linear(1, 1)
    lanes = Lanes(gpus_of(model))
    assert gpus_of(model) == [] and lanes.count == 1
    with lanes.next():
        assert model(torch.zeros(1)).device.type == "cpu"
    lanes.wait()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_give_the_scores_of_one(runs: dict[str, Path]) -> None:
    run = read_run(runs["llama"])
    one = Scorer(load_run_model(run, LoadOptions(dtype="float32", device="cuda:0")), batch_tokens=120)
    two = Scorer(load_run_model(run, LoadOptions(dtype="float32", device_map="balanced")), batch_tokens=120)
    assert two.lanes.count == 2
    np.testing.assert_allclose(two.score(ROWS), one.score(ROWS), atol=1e-4)
