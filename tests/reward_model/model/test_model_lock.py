"""Threads, two models, a call within a call, training beside prediction: each gets the numbers that it has alone.

The long version, by hand: `python -m tests.reward_model.model.test_model_lock 2000` (six threads, so many calls each).
"""

import copy
import io
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reward_model.api import RewardModel
from reward_model.model.model_lock import lock_of
from reward_model.model.packed.check import packed_reader
from reward_model.model.score_layer import find_score_layer, last_positions, score_inputs
from reward_model.publish.demo.comparison import compare
from reward_model.tokens.layout import lay_out
from tests.helpers.run_directories import make_run
from tests.reward_model.model.test_every_architecture import padded, scores, tie_aware, token_rows

THREADS = 6
WORDS = ["alpha", "beta", "gamma", "delta"]


def battles(count: int) -> list[tuple[str, str, str]]:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 60, size=(count, 2))
    return [(" ".join(random.choice(WORDS, 5)), *(" ".join(random.choice(WORDS, n)) for n in row)) for row in lengths]


def in_threads(call: Callable[[int], Any], calls: int) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(calls)))


def wrong_answers(models: list[RewardModel], calls: int) -> int:
    """How many of so many calls in six threads, to the models in turn, differ from a call alone."""
    asked = battles(40)
    alone = [[np.asarray(model.compare(*battle)) for battle in asked] for model in models]

    def differs(number: int) -> bool:
        model, battle = number % len(models), number // len(models) % len(asked)
        return bool(np.abs(np.asarray(models[model].compare(*asked[battle])) - alone[model][battle]).max() > 1e-5)

    return sum(in_threads(differs, calls))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RewardModel]:
    root = tmp_path_factory.mktemp("runs")
    runs = {
        "decoder": make_run(root / "llama", model_type="adapter"),
        "encoder": make_run(root / "bert", kind="bert"),
        "padded": make_run(root / "padded", kind="bert", encoding="joint"),
    }
    loaded = {name: RewardModel.from_pretrained(run, device="cpu", dtype="float32") for name, run in runs.items()}
    loaded["padded"].run.member._loaded_scorer().packed = None
    return loaded


@pytest.mark.parametrize("names", [["decoder"], ["decoder", "encoder", "padded"]], ids="+".join)
def test_threads_get_the_numbers_of_a_call_alone(models: dict[str, RewardModel], names: list[str]) -> None:
    assert wrong_answers([models[name] for name in names], THREADS * 50) == 0


def test_two_visitors_of_the_demo_at_once(models: dict[str, RewardModel]) -> None:
    """With and without style, which are two views of one model."""
    model, asked = models["decoder"], battles(10)

    def visit(number: int) -> tuple[Any, ...]:
        answer = compare(model, *asked[number // 2 % len(asked)], style=number % 2 == 0)
        return (*answer.probabilities, answer.margin)

    alone = [visit(number) for number in range(20)]
    assert all(answer == pytest.approx(alone[n % 20], abs=1e-5) for n, answer in enumerate(in_threads(visit, 40)))


@pytest.mark.parametrize("name", ["llama3", "bert"])
def test_training_beside_prediction(name: str) -> None:
    """With checkpointing attention is computed again in the backward pass, while another model reads other rows."""
    trained, asked = (packed_reader(tie_aware(name, lora=False).eval(), 64) for _ in range(2))
    assert trained is not None and asked is not None
    trained.stock.activation_checkpointing_enable({"use_reentrant": False})
    rows = [row.tolist() for row in token_rows([7, 12, 9])]

    packed = lay_out([row.tolist() for row in token_rows([20, 5, 16, 11])], trained.causal)

    def gradient() -> torch.Tensor:
        trained.stock.train().zero_grad()
        with trained.reading():
            trained.logits(trained.stock, packed).sum().backward()
        return torch.cat([p.grad.flatten() for p in trained.stock.parameters() if p.grad is not None])

    def answer() -> torch.Tensor:
        with torch.no_grad():
            return asked.scores(rows)

    alone = gradient(), answer()
    assert alone[0].abs().max() > 0
    with ThreadPoolExecutor(THREADS) as pool:
        answers = [pool.submit(answer) for _ in range(THREADS * 20)]
        gradients = [gradient() for _ in range(20)]
        assert all(torch.allclose(future.result(), alone[1], atol=1e-6) for future in answers)
    assert all(torch.allclose(one, alone[0], atol=1e-6) for one in gradients)


@pytest.mark.parametrize("name", ["llama3", "bert"])
def test_a_call_within_a_call(name: str) -> None:
    """As from a hook: the inner call has its own numbers, and the outer one goes on with what it had."""
    model = tie_aware(name, lora=False).eval()
    reader = packed_reader(model, 64)
    assert reader is not None
    outer, inner = ([row.tolist() for row in token_rows(lengths)] for lengths in ([9, 14], [5, 21, 3]))
    with torch.no_grad():
        alone = reader.scores(outer), reader.scores(inner)
        layer, asked = find_score_layer(model), []

        def ask(_module: Any, _arguments: Any) -> None:
            handle.remove()
            asked.append(reader.scores(inner))

        handle = reader.backbone.get_input_embeddings().register_forward_pre_hook(ask)
        torch.testing.assert_close(reader.scores(outer), alone[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(asked[0], alone[1], atol=1e-6, rtol=0)
    assert layer.inputs == type(layer.inputs)() and reader._call.pack.pieces == ()
    assert model.config._attn_implementation != "packed_sequences"


def test_score_inputs_put_back_what_they_met() -> None:
    model = tie_aware("bert", lora=False)
    layer, batch = find_score_layer(model), padded(token_rows([4, 6]))
    positions = last_positions(batch["attention_mask"])
    with score_inputs(model, positions=positions):
        scores(model, batch)
        assert layer.inputs.positions is positions
    assert layer.inputs.positions is None


def test_a_lock_is_one_models_and_is_not_copied() -> None:
    one, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    assert lock_of(one) is lock_of(one) and lock_of(one) is not lock_of(other)
    assert lock_of(copy.deepcopy(one)) is not lock_of(one)
    torch.save(one, io.BytesIO())  # a lock in the module could not be saved
    entered: list[bool] = []
    with lock_of(one), lock_of(one):
        other_thread = threading.Thread(target=lambda: lock_of(other).__enter__() and entered.append(True))
        other_thread.start()
        other_thread.join(10)
    assert entered == [True]


if __name__ == "__main__":
    calls = THREADS * int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("llama", "bert"):
            loaded = RewardModel.from_pretrained(make_run(Path(folder) / kind, kind=kind), device="cpu")
            asked = battles(40)
            started = time.perf_counter()
            for battle in 5 * asked:
                loaded.compare(*battle)
            alone = (time.perf_counter() - started) / 200
            started = time.perf_counter()
            wrong = wrong_answers([loaded], calls)
            together = (time.perf_counter() - started) / calls
            print(f"{kind}: {wrong} of {calls:,} calls wrong; {1e3 * alone:.1f} ms a call in one thread", end=", ")
            print(f"{1e3 * together:.1f} ms in {THREADS}", flush=True)
