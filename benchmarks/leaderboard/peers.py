"""The systems of `benchmarks.leaderboard.comparison`: each trains on one fold's battles and predicts the held-out ones."""

import argparse
import io
import tempfile
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
from trl import ModelConfig, RewardConfig, RewardTrainer
from trl.trainer.utils import disable_dropout_in_model

from arena_data.file_io import write_bytes_atomically
from arena_data.splits.folds import training_split
from benchmarks.leaderboard.systems import placed_battles
from reward_model.calibration import calibration
from reward_model.model.device import default_device, keep_one_device
from reward_model.model.losses import cross_entropy
from reward_model.model.tie_links import log_probabilities
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import JOINT, SEPARATE, Encoding, encoding_named
from reward_model.tokens.token_budget import pack
from reward_model.tokens.tokenizer import load_tokenizer
from reward_model.train.compose import compose
from reward_model.train.config import TieRewardConfig

Parts = dict[str, datasets.Dataset]
Predictions = dict[str, np.ndarray]
HELD_OUT = ("validation", "calibration")


def run_fold(options: argparse.Namespace, system: str, fold: int, output: Path) -> None:
    """Trains, predicts, calibrates, and writes log-probabilities and verdicts of the held-out battles."""
    battles = placed_battles(options.train_file)
    parts = training_split(battles, num_folds=options.num_folds, fold=fold, seed=options.seed)
    verdicts = {name: np.asarray(list(part["verdict"])) for name, part in parts.items()}
    set_seed(options.seed)
    if system == "prior":
        prior = np.log(verdicts["train"].mean(axis=0))
        found, tokens = {name: np.tile(prior, (len(parts[name]), 1)) for name in HELD_OUT}, 0.0
    elif system == "trl":
        found, tokens = trl(options, parts, verdicts)
    elif system == "three_way":
        found, tokens = three_way(options, parts, verdicts)
    else:
        found, tokens = ours(options, parts, system.removesuffix("_style"), system.endswith("_style"))
    fitted = calibration.fit(found["calibration"], verdicts["calibration"], list(parts["calibration"]["group"]))
    output.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    np.savez(
        stream,
        raw=found["validation"],
        raw_calibration=found["calibration"],
        verdicts_calibration=verdicts["calibration"],
        calibrated=fitted.apply(found["validation"]),
        verdicts=verdicts["validation"],
        groups=np.asarray(list(parts["validation"]["group"])),
        index=np.asarray(parts["validation"]["place"]),
        tokens=tokens,
    )
    write_bytes_atomically(output, stream.getvalue())


def encoded(options: argparse.Namespace, tokenizer: Any, parts: Parts, encoding: Encoding) -> Parts:
    """Token ids, cut alike for every system: a joint row has the room of two separate ones."""
    encoder = BattleEncoder(tokenizer, options.max_length * encoding.responses_in_row, encoding)
    return {name: encoder(part) for name, part in parts.items()}


def tokens_of(rows: datasets.Dataset, sides: str = "ab") -> int:
    return sum(len(ids) for side in sides for ids in rows[f"input_ids_{side}"])


def budget(options: argparse.Namespace, tokenizer: Any, parts: Parts) -> tuple[float, float]:
    """Tokens that every system may read in training, and the battles in a batch of the separate encoding."""
    rows = encoded(options, tokenizer, {"train": parts["train"]}, SEPARATE)["train"]
    lengths = np.array([[len(row[f"input_ids_{side}"]) for side in "ab"] for row in rows])
    batches = pack(np.arange(len(rows)), lengths, options.batch_tokens)
    return options.num_train_epochs * tokens_of(rows), len(rows) / len(batches)


def common(options: argparse.Namespace, directory: str) -> dict[str, Any]:
    return {
        "output_dir": directory,
        "learning_rate": options.learning_rate,
        "bf16": options.bf16,
        "use_cpu": default_device().type == "cpu",
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
        "seed": options.seed,
        "report_to": "none",
        "save_strategy": "no",
        "eval_strategy": "no",
    }


def ours(options: argparse.Namespace, parts: Parts, encoding: str, with_style: bool) -> tuple[Predictions, float]:
    tokenizer = load_tokenizer(options.model_name_or_path)
    limit = options.max_length * encoding_named(encoding).responses_in_row
    encoder = BattleEncoder(tokenizer, limit, encoding_named(encoding))
    allowed, _ = budget(options, tokenizer, parts)
    with tempfile.TemporaryDirectory() as directory:
        config = TieRewardConfig(
            **common(options, directory),
            encoding=encoding,  # type: ignore[arg-type]
            style=with_style,
            max_length=limit,
            batch_tokens=options.batch_tokens,
            load_best_model_at_end=False,
        )
        run = compose(parts, encoder, config, ModelConfig(model_name_or_path=options.model_name_or_path))
        config.num_train_epochs = allowed / tokens_of(run.data.train.rows)
        run.trainer.train()
        held_out = {"validation": run.data.validation, "calibration": run.data.calibration}
        return {
            name: np.asarray(run.trainer.predict(part.rows).predictions) for name, part in held_out.items()
        }, allowed


def trl(options: argparse.Namespace, parts: Parts, verdicts: Predictions) -> tuple[Predictions, float]:
    tokenizer = load_tokenizer(options.model_name_or_path)
    rows = encoded(options, tokenizer, parts, SEPARATE)
    allowed, batch = budget(options, tokenizer, parts)
    winner = verdicts["train"].argmax(axis=1)
    pairs = {"chosen_ids": [], "rejected_ids": []}  # type: dict[str, list[list[int]]]
    for row, won in zip(rows["train"], winner, strict=True):
        if won < 2:
            pairs["chosen_ids"].append(row[f"input_ids_{'ab'[won]}"])
            pairs["rejected_ids"].append(row[f"input_ids_{'ba'[won]}"])
    tokens = sum(len(ids) for side in pairs.values() for ids in side)
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model_name_or_path, num_labels=1, trust_remote_code=False, dtype=torch.float32
    )
    with tempfile.TemporaryDirectory() as directory:
        config = RewardConfig(
            **common(options, directory),
            num_train_epochs=allowed / tokens,
            per_device_train_batch_size=round(batch),
            max_length=None,
            gradient_checkpointing=False,
        )
        keep_one_device(config)
        trainer = RewardTrainer(
            model=model, args=config, train_dataset=datasets.Dataset.from_dict(pairs), processing_class=tokenizer
        )
        trainer.train()
    margins = {
        name: scores(model, tokenizer, rows[name]["input_ids_a"], options.bf16)[:, 0]
        - scores(model, tokenizer, rows[name]["input_ids_b"], options.bf16)[:, 0]
        for name in HELD_OUT
    }
    theta = fit_rao_kupper(margins["calibration"], verdicts["calibration"])
    return {name: rao_kupper(margin, theta).detach().numpy() for name, margin in margins.items()}, allowed


def rao_kupper(margin: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [n, 3] of margins [n]; theta: their scale, and the tie strength of every battle."""
    return log_probabilities(theta[0] * margin, theta[1].expand(len(margin)), "rao_kupper")


def fit_rao_kupper(margin: torch.Tensor, verdicts: np.ndarray) -> torch.Tensor:
    """float64 [2], by maximum likelihood."""
    theta = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    targets = torch.from_numpy(verdicts)
    optimizer = torch.optim.LBFGS([theta], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(rao_kupper(margin, theta), targets).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return theta.detach()


def three_way(options: argparse.Namespace, parts: Parts, verdicts: Predictions) -> tuple[Predictions, float]:
    tokenizer = load_tokenizer(options.model_name_or_path)
    rows = encoded(options, tokenizer, parts, JOINT)
    allowed, batch = budget(options, tokenizer, parts)
    train = datasets.Dataset.from_dict(
        {"input_ids": rows["train"]["input_ids_a"], "labels": verdicts["train"].argmax(axis=1)}
    )
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model_name_or_path, num_labels=3, trust_remote_code=False, dtype=torch.float32
    )
    disable_dropout_in_model(model)  # as TRL does by default, and so ours
    with tempfile.TemporaryDirectory() as directory:
        config = TrainingArguments(
            **common(options, directory),
            num_train_epochs=allowed / tokens_of(rows["train"], "a"),
            per_device_train_batch_size=round(batch),
        )
        keep_one_device(config)
        Trainer(model=model, args=config, train_dataset=train, data_collator=DataCollatorWithPadding(tokenizer)).train()
    found = {
        name: torch.log_softmax(scores(model, tokenizer, rows[name]["input_ids_a"], options.bf16), dim=1).numpy()
        for name in HELD_OUT
    }
    return found, allowed


@torch.no_grad()
def scores(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, ids: list[list[int]], bf16: bool, batch: int = 16
) -> torch.Tensor:
    """float64 [n, labels]: the stock model's logits, rows of like length together."""
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort([len(row) for row in ids], kind="stable")
    found: dict[int, torch.Tensor] = {}
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch].tolist()
        inputs = tokenizer.pad({"input_ids": [ids[row] for row in chosen]}, return_tensors="pt").to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(**inputs).logits
        found |= dict(zip(chosen, logits.double().cpu(), strict=True))
    return torch.stack([found[row] for row in range(len(ids))])
