"""One fold of the two ways that a reward model is trained elsewhere: TRL's RewardTrainer, and three labels by the Trainer.

| system | what it is |
| --- | --- |
| trl | TRL's RewardTrainer as it stands: ties dropped; its margin goes through a Rao–Kupper link (scale and η) |
| three_way | sequence classification with three labels over [prompt, A, B], by Transformers' Trainer |

Both read the token ids that our reward model reads, cut alike, with the same backbone, learning rate and precision. Both
train on as many tokens as the separate encoding has in `--num_train_epochs`. TRL drops rows longer than its limit, so it
gets rows that are cut already. Its link is fitted on the calibration split.

Sources: https://huggingface.co/docs/trl/reward_trainer, https://huggingface.co/docs/transformers/tasks/sequence_classification.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)
from trl import RewardConfig, RewardTrainer
from trl.trainer.utils import disable_dropout_in_model

from benchmarks.leaderboard.results import FloatArray, Predictions
from benchmarks.leaderboard.systems import System
from reward_model.baselines.base import verdicts_of
from reward_model.calibration import calibration
from reward_model.model.device import default_device, keep_one_device
from reward_model.model.tie_links import log_probabilities
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import JOINT, SEPARATE, Encoding
from reward_model.tokens.token_budget import pack
from reward_model.tokens.tokenizer import load_tokenizer

SEED = 0
Parts = dict[str, datasets.Dataset]
# Battles to log-probabilities, float64 [n, 3].
Predict = Callable[[datasets.Dataset], FloatArray]


def run_peer_fold(system: System, options: argparse.Namespace, parts: Parts) -> Predictions:
    """Trains on one part, calibrates on the second, predicts the third. Training's time is that of the link too."""
    held_out, kept = parts["validation"], parts["calibration"]
    train = {"trl": train_trl, "three_way": train_three_way}[system.peer]
    set_seed(SEED)
    started = time.perf_counter()
    model, predict = train(options, parts)
    trained = time.perf_counter()
    raw = predict(held_out)
    predicted = time.perf_counter()
    raw_calibration, verdicts = predict(kept), verdicts_of(kept)
    fitted = calibration.fit(raw_calibration, verdicts, list(kept["group"]))
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        size = sum(file.stat().st_size for file in Path(directory).iterdir())
    return Predictions(
        raw=raw,
        calibrated=fitted.apply(raw),
        verdicts=verdicts_of(held_out),
        groups=np.asarray(list(held_out["group"])),
        index=np.asarray(held_out["place"], dtype=np.int64),
        raw_calibration=raw_calibration,
        verdicts_calibration=verdicts,
        train_seconds=trained - started,
        predict_seconds=predicted - trained,
        size=float(size),
        about=system.made_by(options),
    )


def train_trl(options: argparse.Namespace, parts: Parts) -> tuple[Any, Predict]:
    """TRL's model of decided battles, and its predictions through the link."""
    tokenizer = load_tokenizer(options.model_name_or_path)
    rows = encoded(options, tokenizer, parts["train"], SEPARATE)
    allowed, batch = budget(options, rows)
    pairs: dict[str, list[list[int]]] = {"chosen_ids": [], "rejected_ids": []}
    for row, winner in zip(rows, verdicts_of(parts["train"]).argmax(axis=1), strict=True):
        if winner < 2:
            pairs["chosen_ids"].append(row[f"input_ids_{'ab'[winner]}"])
            pairs["rejected_ids"].append(row[f"input_ids_{'ba'[winner]}"])
    tokens = sum(len(ids) for side in pairs.values() for ids in side)
    model = new_model(options, labels=1)
    with tempfile.TemporaryDirectory() as directory:
        config = RewardConfig(
            **common(options, directory),
            num_train_epochs=allowed / tokens,
            per_device_train_batch_size=round(batch),
            max_length=None,
            gradient_checkpointing=False,
        )
        keep_one_device(config)
        RewardTrainer(
            model=model, args=config, train_dataset=datasets.Dataset.from_dict(pairs), processing_class=tokenizer
        ).train()

    def margin(battles: datasets.Dataset) -> torch.Tensor:
        texts = encoded(options, tokenizer, battles, SEPARATE)
        reward_a, reward_b = (scores(model, tokenizer, texts[f"input_ids_{side}"], options.bf16)[:, 0] for side in "ab")
        return reward_a - reward_b

    link = fit_rao_kupper(margin(parts["calibration"]), verdicts_of(parts["calibration"]))
    return model, lambda battles: rao_kupper(margin(battles), link).numpy()


def train_three_way(options: argparse.Namespace, parts: Parts) -> tuple[Any, Predict]:
    """A classifier of A, B and tie, and its predictions: one order only, as such notebooks have it."""
    tokenizer = load_tokenizer(options.model_name_or_path)
    allowed, batch = budget(options, encoded(options, tokenizer, parts["train"], SEPARATE))
    ids = list(encoded(options, tokenizer, parts["train"], JOINT)["input_ids_a"])
    labels = verdicts_of(parts["train"]).argmax(axis=1)
    model = new_model(options, labels=3)
    disable_dropout_in_model(model)  # as TRL does by default, and so ours
    with tempfile.TemporaryDirectory() as directory:
        config = TrainingArguments(
            **common(options, directory),
            num_train_epochs=allowed / sum(map(len, ids)),
            per_device_train_batch_size=round(batch),
        )
        keep_one_device(config)
        rows = datasets.Dataset.from_dict({"input_ids": ids, "labels": labels})
        Trainer(model=model, args=config, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer)).train()

    def predict(battles: datasets.Dataset) -> FloatArray:
        texts = encoded(options, tokenizer, battles, JOINT)["input_ids_a"]
        log_probs: FloatArray = torch.log_softmax(scores(model, tokenizer, texts, options.bf16), dim=1).numpy()
        return log_probs

    return model, predict


def encoded(options: argparse.Namespace, tokenizer: Any, battles: datasets.Dataset, encoding: Encoding) -> Any:
    """Token ids, cut alike for every system: a joint row has the room of two separate ones."""
    return BattleEncoder(tokenizer, options.max_length * encoding.responses_in_row, encoding)(battles)


def budget(options: argparse.Namespace, rows: datasets.Dataset) -> tuple[float, float]:
    """Tokens that a system may read in training, and the battles in a batch. rows: of the separate encoding."""
    lengths = np.array([[len(row[f"input_ids_{side}"]) for side in "ab"] for row in rows])
    batches = pack(np.arange(len(rows)), lengths, options.batch_tokens)
    return options.num_train_epochs * int(lengths.sum()), len(rows) / len(batches)


def new_model(options: argparse.Namespace, labels: int) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(
        options.model_name_or_path, num_labels=labels, trust_remote_code=False, dtype=torch.float32
    )


def common(options: argparse.Namespace, directory: str) -> dict[str, Any]:
    """The Trainer's options that both have, as our own rows have them."""
    return {
        "output_dir": directory,
        "learning_rate": options.learning_rate,
        "bf16": options.bf16,
        "use_cpu": default_device().type == "cpu",
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
        "seed": SEED,
        "report_to": "none",
        "save_strategy": "no",
        "eval_strategy": "no",
    }


def rao_kupper(margin: torch.Tensor, link: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [n, 3] of margins [n]; link: their scale, and the tie strength of every battle."""
    return log_probabilities(link[0] * margin, link[1].expand(len(margin)), "rao_kupper")


def fit_rao_kupper(margin: torch.Tensor, verdicts: FloatArray) -> torch.Tensor:
    """The link's scale and tie strength, float64 [2], by maximum likelihood. verdicts: float64 [n, 3]."""
    link = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    targets = torch.from_numpy(verdicts)
    optimizer = torch.optim.LBFGS([link], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -(targets * rao_kupper(margin, link)).sum(dim=1).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return link.detach()


@torch.no_grad()
def scores(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, ids: list[list[int]], bf16: bool, batch: int = 16
) -> torch.Tensor:
    """float64 [n, labels]: the stock model's logits, rows of like length together."""
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort([len(row) for row in ids], kind="stable")
    logits: dict[int, torch.Tensor] = {}
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch].tolist()
        inputs = tokenizer.pad({"input_ids": [ids[row] for row in chosen]}, return_tensors="pt").to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            part = model(**inputs).logits
        logits |= dict(zip(chosen, part.double().cpu(), strict=True))
    return torch.stack([logits[row] for row in range(len(ids))])
