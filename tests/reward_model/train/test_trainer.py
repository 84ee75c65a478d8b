"""Training a tiny random model on invented battles: what a step is, what is predicted, and going on after a stop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from arena_data.schema import FEATURES
from reward_model.model.score_layer import find_score_layer, install_score_layer, score_inputs
from reward_model.model.style_head import StyleScale
from reward_model.tokens.collator import BattleCollator
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import encoding_named
from reward_model.tokens.tokenizer import prepare_tokenizer
from reward_model.train.dataset import style_of, training_rows
from reward_model.train.device_figures import NotFiniteError
from reward_model.train.settings.config import TieRewardConfig
from reward_model.train.trainer import TieRewardTrainer
from tests.helpers.tiny_models import byte_tokenizer, tiny_llama

BATTLES = 24
WORDS = ["a", "list", "of", "words", "that", "are", "short", "and", "some", "rather", "longer", "than", "the", "others"]
MakeTrainer = Callable[..., Any]


def invented() -> datasets.Dataset:
    random = np.random.default_rng(0)

    def text(longest: int) -> list[str]:
        return [" ".join(random.choice(WORDS, size=random.integers(1, longest)))]

    columns: dict[str, list[Any]] = {name: [None] * BATTLES for name in FEATURES}
    columns["prompt"] = [text(5) for _ in range(BATTLES)]
    columns["response_a"] = [text(25) for _ in range(BATTLES)]
    columns["response_b"] = [text(25) for _ in range(BATTLES)]
    columns["verdict"] = [np.eye(3)[i % 3].tolist() if i % 4 else [0.5, 0.25, 0.25] for i in range(BATTLES)]
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def swapped(battles: datasets.Dataset) -> datasets.Dataset:
    columns = battles.to_dict()
    columns["response_a"], columns["response_b"] = columns["response_b"], columns["response_a"]
    columns["verdict"] = [[b, a, tie] for a, b, tie in columns["verdict"]]
    return datasets.Dataset.from_dict(columns, features=FEATURES)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return prepare_tokenizer(byte_tokenizer())


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> Callable[..., datasets.Dataset]:
    made: dict[tuple[str, bool], datasets.Dataset] = {}
    scale = StyleScale.of(style_of(invented()))

    def of(encoding: Any = "separate", swap: bool = False) -> datasets.Dataset:
        if (encoding, swap) not in made:
            battles = swapped(invented()) if swap else invented()
            encoder = BattleEncoder(tokenizer, 600, encoding_named(encoding))
            made[encoding, swap] = training_rows(battles, encoder, style_of(battles), scale)
        return made[encoding, swap]

    return of


def tiny_model(tokenizer: Any, style_features: int) -> Any:
    model = tiny_llama(
        tokenizer, hidden_size=16, intermediate_size=24, max_position_embeddings=1024, initializer_range=0.2
    )
    layer = install_score_layer(model, style_features=style_features, tie_bias=-0.3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.fixture
def make(tokenizer: Any, rows: Callable[..., datasets.Dataset], tmp_path: Path) -> MakeTrainer:
    def trainer(data: datasets.Dataset | None = None, kind: Any = TieRewardTrainer, **options: Any) -> Any:
        encoding = options.get("encoding", "separate")
        data = rows(encoding) if data is None else data
        defaults: dict[str, Any] = {
            "output_dir": str(tmp_path / "run"),
            "eval_strategy": "no",
            "save_strategy": "no",
            "load_best_model_at_end": False,
            "use_cpu": True,
            "disable_tqdm": True,
            "logging_steps": 1,
            "batch_tokens": 1500,
            "learning_rate": 1e-2,
        }
        model = tiny_model(tokenizer, len(data[0]["style_a"]))
        return kind(
            model=model,
            args=TieRewardConfig(**defaults | options),
            train_dataset=data,
            eval_dataset=data,
            processing_class=tokenizer,
        )

    return trainer


def plain_log_probs(model: Any, row: dict[str, Any], encoding: str) -> list[torch.Tensor]:
    """A battle by itself: each row in a pass of its own, nothing padded; one result for each order that is trained on."""
    a, b, pair = (torch.tensor([row[name]]).float() for name in ("style_a", "style_b", "pair"))
    styles = [a, b] if encoding == "separate" else [a - b, b - a]
    scores = []
    for side, style in zip("ab", styles, strict=True):
        ids = torch.tensor([row[f"input_ids_{side}"]])
        with score_inputs(model, positions=torch.tensor([ids.shape[1] - 1]), style=style, pair=pair):
            scores.append(model(input_ids=ids).logits[0])
    if encoding == "joint":
        return [torch.stack([d / 2, -d / 2, tie]).log_softmax(0) for d, tie in scores]
    (first, tie_a), (second, tie_b) = scores
    half = (first - second) / 2
    return [torch.stack([half, -half, (tie_a + tie_b) / 2]).log_softmax(0)]


def plain_mean(model: Any, data: datasets.Dataset, indices: list[int], encoding: str) -> torch.Tensor:
    losses = []
    for index in indices:
        row = data[index]
        label = torch.tensor(row["labels"])
        targets = [label, label[[1, 0, 2]]]
        found = plain_log_probs(model, row, encoding)
        losses += [-(t * p).sum() / len(found) for t, p in zip(targets, found, strict=False)]
    return torch.stack(losses).sum() / len(indices)


class Recording(TieRewardTrainer):
    seen: list[int]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        self.seen = [*getattr(self, "seen", []), *inputs["index"].tolist()]
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


@pytest.mark.parametrize("encoding", ["separate", "joint"])
@pytest.mark.parametrize(
    ("batch_tokens", "accumulation", "options"),
    [
        (100_000, 1, {}),
        (100_000, 1, {"padding_free": False}),
        (1500, 64, {"padding_free": False}),
        (1500, 3, {}),
        (1500, 3, {"gradient_checkpointing": True}),
    ],
)
def test_a_step_is_the_plain_mean_over_battles(
    make: MakeTrainer, encoding: str, batch_tokens: int, accumulation: int, options: dict[str, Any]
) -> None:
    trainer = make(
        **options,
        kind=Recording,
        encoding=encoding,
        batch_tokens=batch_tokens,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        optim="sgd",
        learning_rate=1.0,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
    )
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    assert trainer.data_collator.padding_free is options.get("padding_free", True)
    after = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    assert len(trainer.seen) == len(set(trainer.seen))
    assert len(trainer.seen) == BATTLES if accumulation != 3 else 3 <= len(trainer.seen) < BATTLES
    trainer.model.load_state_dict(before)
    loss = plain_mean(trainer.model, trainer.train_dataset, trainer.seen, encoding)
    # The Trainer rounds what it logs only for the screen.
    logged = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert float(logged) == pytest.approx(loss.item(), abs=1e-4)
    gradients = torch.autograd.grad(loss, list(trainer.model.parameters()))
    for (name, start), gradient in zip(before.items(), gradients, strict=True):
        torch.testing.assert_close(start - after[name], gradient, atol=2e-5, rtol=1e-3, msg=name)
    assert all(gradient.abs().max() > 1e-4 for gradient in gradients[-3:])


def test_the_score_layer_alone_has_a_rate_of_its_own(make: MakeTrainer) -> None:
    trainer = make(learning_rate=1e-5, score_learning_rate=1e-3)
    rate = {
        id(parameter): group["lr"] for group in trainer.create_optimizer().param_groups for parameter in group["params"]
    }
    score = {id(parameter) for parameter in find_score_layer(trainer.model).parameters()}
    for name, parameter in trainer.model.named_parameters():
        assert rate[id(parameter)] == (1e-3 if id(parameter) in score else 1e-5), name


@pytest.mark.parametrize("encoding", ["separate", "joint"])
def test_predictions_are_in_order_whatever_the_batches(make: MakeTrainer, encoding: str) -> None:
    found = [
        make(encoding=encoding, eval_batch_tokens=tokens, padding_free=free).predict(
            make(encoding=encoding).train_dataset
        )
        for tokens, free in ((1300, True), (4000, False), (100_000, True), (100_000, False))
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other.predictions, found[0].predictions, atol=1e-5)
    trainer = make(encoding=encoding)
    data = trainer.train_dataset
    np.testing.assert_array_equal(found[0].label_ids, np.asarray(data["labels"], dtype=np.float32))
    assert np.ptp(found[0].predictions, axis=0).min() > 0.1
    model = trainer.model.eval()
    with torch.no_grad():
        alone = [plain_log_probs(model, data[index], encoding) for index in range(BATTLES)]
    # Averaging Davidson's logits over both orders averages the margin antisymmetrically and the tie strength plainly.
    orders = [[found_here, *(other[[1, 0, 2]] for other in others)] for found_here, *others in alone]
    wanted = torch.stack([torch.stack(order).mean(dim=0).log_softmax(0) for order in orders])
    np.testing.assert_allclose(found[0].predictions, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("encoding", ["separate", "joint"])
@pytest.mark.parametrize("tie_link", ["davidson", "rao_kupper"])
def test_swapping_every_battle_swaps_the_probabilities(
    make: MakeTrainer, rows: Callable[..., datasets.Dataset], encoding: str, tie_link: str
) -> None:
    trainer = make(encoding=encoding, tie_link=tie_link)
    here = np.exp(trainer.predict(rows(encoding)).predictions)
    there = np.exp(trainer.predict(rows(encoding, swap=True)).predictions)
    np.testing.assert_allclose(here[:, [1, 0, 2]], there, atol=1e-6)
    np.testing.assert_allclose(here.sum(axis=1), 1, atol=1e-5)
    assert np.abs(here[:, 0] - here[:, 1]).max() > 0.05


@pytest.mark.parametrize("bad", [3, 17])
def test_a_loss_that_is_not_finite_names_the_step_and_the_battle(
    make: MakeTrainer, rows: Callable[..., datasets.Dataset], bad: int
) -> None:
    labels = [row if i != bad else [float("nan")] * 3 for i, row in enumerate(rows()["labels"])]
    data = rows().remove_columns("labels").add_column("labels", labels)
    with pytest.raises(NotFiniteError, match=rf"not finite at step 0 on training battles \[{bad}\]"):
        make(data, batch_tokens=100_000, max_steps=1).train()


def test_every_evaluation_has_a_log_loss(make: MakeTrainer) -> None:
    trainer = make(eval_strategy="steps", eval_steps=1, max_steps=2)
    trainer.train()
    found = [entry["eval_log_loss"] for entry in trainer.state.log_history if "eval_log_loss" in entry]
    assert len(found) == 2
    prediction = trainer.predict(trainer.eval_dataset)
    wanted = -(prediction.label_ids * prediction.predictions).sum(axis=1).mean()
    assert found[-1] == pytest.approx(wanted, abs=1e-5)
    assert found[0] != found[1]


def test_it_learns_the_battles_by_heart(make: MakeTrainer) -> None:
    trainer = make(max_steps=25, learning_rate=2e-2)
    before = trainer.evaluate()["eval_log_loss"]
    start = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    assert trainer.evaluate()["eval_log_loss"] < before - 0.1
    assert all(not torch.equal(start[name], parameter) for name, parameter in trainer.model.named_parameters())


class StopAfter(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = control.should_training_stop or state.global_step >= self.step


@pytest.mark.parametrize("adversarial_norm", [0.0, 0.01])
@pytest.mark.parametrize("stop", [2, 5])
def test_going_on_from_a_checkpoint_gives_the_same_weights(
    make: MakeTrainer, tmp_path: Path, stop: int, adversarial_norm: float
) -> None:
    options = {
        "num_train_epochs": 3,
        "gradient_accumulation_steps": 2,
        "batch_tokens": 1000,
        "adversarial_norm": adversarial_norm,
        "adversarial_start": 0.5,
        "save_strategy": "steps",
        "save_steps": 1,
        "save_total_limit": None,
        "report_to": "none",
    }
    whole = make(output_dir=str(tmp_path / "whole"), **options | {"save_strategy": "no"})
    whole.train()
    first = make(output_dir=str(tmp_path / "parts"), **options)
    assert stop % -(-len(first.get_train_dataloader()) // 2)  # In the middle of an epoch.
    first.add_callback(StopAfter(stop))
    first.train()
    assert first.state.global_step == stop < whole.state.global_step
    second = make(output_dir=str(tmp_path / "parts"), **options)
    second.train(resume_from_checkpoint=str(tmp_path / "parts" / f"checkpoint-{stop}"))
    assert second.state.global_step == whole.state.global_step
    for (name, wanted), found in zip(whole.model.named_parameters(), second.model.parameters(), strict=True):
        assert torch.equal(wanted, found), name
    assert any(
        not torch.equal(wanted, found)
        for wanted, found in zip(whole.model.parameters(), first.model.parameters(), strict=True)
    )


def test_an_adversarial_step_is_noted_once(make: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(adversarial_norm=0.01, adversarial_start=0.0, batch_tokens=100_000, max_steps=1)
    noted: list[int] = []
    monkeypatch.setattr(trainer, "_note", lambda batch, *rest: noted.append(len(batch["index"])))
    trainer.train()
    assert noted == [BATTLES]


def test_the_collator_pads_with_the_tokenizers_pad_token(make: MakeTrainer, tokenizer: Any) -> None:
    assert make(padding_free=False).data_collator == BattleCollator(tokenizer.pad_token_id)
