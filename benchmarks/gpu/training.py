"""Some steps of LoRA training by this project's trainer, or by TRL's on the same rows: speed, memory, and its plan."""

import contextlib
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers import TrainerCallback
from trl import ModelConfig, RewardConfig, RewardTrainer, get_peft_config

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.device import GIB, forget_peak, peak_gib, synchronise
from benchmarks.gpu.models import (
    Battle,
    WordTokenizer,
    needed_flops,
    quantise,
    random_battles,
    random_model,
    row_tokens,
    shape,
    training_rows,
)
from reward_model.model.device import keep_one_device
from reward_model.plan.engines import held
from reward_model.plan.footprint import footprint
from reward_model.quiet import quiet_libraries
from reward_model.train.build_model import lora_config
from reward_model.train.settings.config import TieRewardConfig
from reward_model.train.trainer import TieRewardTrainer

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class TrainingCase:
    """What is trained.

    Args:
        shape: of `benchmarks.gpu.models.SHAPES`.
        weights: of the backbone: `half`, `nf4` or `int8`.
        batch_tokens: of a step.
        steps: the first of them is not timed.
        system: `ours` or `trl`.
        full: all rows are of the longest length and share nothing, as the planner counts.
        reentrant: the older kind of checkpointing.
        dropout: of the adapters.
    """

    shape: str
    weights: str = "half"
    batch_tokens: int = 8192
    steps: int = 4
    system: str = "ours"
    full: bool = False
    reentrant: bool = False
    dropout: float = 0.05


@dataclass
class Watch(TrainerCallback):
    """Times steps, and notes what they have read.

    Attributes:
        times: the clock when the first step begins and after each step.
        tokens: real tokens of both rows, of each forward pass.
        battles: places of the battles, of each forward pass; empty where batches do not tell.
        losses: of each forward pass.
    """

    times: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    battles: list[list[int]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)

    def on_step_begin(self, *arguments: Any, **named: Any) -> None:
        if not self.times:
            self._note()

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self._note()

    def _note(self) -> None:
        synchronise()
        self.times.append(time.perf_counter())

    def watch(self, trainer: Any) -> None:
        """Wraps the trainer's loss."""
        stock = trainer.compute_loss

        def watched(model: Any, inputs: dict[str, Any], *arguments: Any, **named: Any) -> Any:
            if "groups" in inputs:
                self.tokens.append(inputs["tokens"][0])
                self.battles.append(inputs["index"].tolist())
            else:
                self.tokens.append(int(inputs["attention_mask"].sum()))
            loss = stock(model, inputs, *arguments, **named)
            self.losses.append((loss[0] if isinstance(loss, tuple) else loss).detach())
            return loss

        trainer.compute_loss = watched


def model_arguments(bench: Bench, case: TrainingCase) -> ModelConfig:
    """As a recipe says it."""
    return ModelConfig(
        model_name_or_path=case.shape,
        dtype="bfloat16" if bench.half == torch.bfloat16 else "float32",
        use_peft=True,
        lora_r=4 if bench.tiny else 64,
        lora_alpha=8 if bench.tiny else 128,
        lora_dropout=case.dropout,
        lora_target_modules=TARGETS,
        lora_task_type="SEQ_CLS",
        load_in_4bit=case.weights == "nf4",
        load_in_8bit=case.weights == "int8",
        use_bnb_nested_quant=case.weights == "nf4",
    )


def battles_of(bench: Bench, case: TrainingCase, vocabulary: int) -> list[Battle]:
    """Enough for all steps."""
    wanted = (case.steps + 2) * case.batch_tokens
    count = 1 + wanted // (2 * bench.longest) if case.full else 4
    battles = random_battles(count, bench.longest, vocabulary, seed=3, full=case.full)
    while row_tokens(battles) < wanted:
        count *= 2
        battles = random_battles(count, bench.longest, vocabulary, seed=3, full=case.full)
    return battles


def make_trainer(bench: Bench, case: TrainingCase, model: Any, battles: list[Battle], folder: str, watch: Watch) -> Any:
    tokenizer = WordTokenizer.make()
    arguments = model_arguments(bench, case)
    common: dict[str, Any] = {
        "output_dir": folder,
        "bf16": bench.half == torch.bfloat16,
        "use_cpu": bench.device.type == "cpu",
        "max_steps": case.steps,
        "report_to": "none",
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_strategy": "no",
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": case.reentrant},
        "optim": "adamw_torch",
        "disable_tqdm": True,
    }
    if case.system == "ours":
        config = TieRewardConfig(
            **common,
            load_best_model_at_end=False,
            disable_dropout=False,
            max_length=bench.longest,
            batch_tokens=case.batch_tokens,
            style=False,
        )
        trainer: Any = TieRewardTrainer(
            model=model,
            args=config,
            train_dataset=training_rows(battles),
            processing_class=tokenizer,
            peft_config=lora_config(arguments, model),
            callbacks=[watch],
        )
    else:
        size = max(1, round(case.batch_tokens * len(battles) / row_tokens(battles)))
        stock = RewardConfig(**common, disable_dropout=False, max_length=None, per_device_train_batch_size=size)
        keep_one_device(stock)
        pairs = {"chosen_ids": [a for a, _ in battles], "rejected_ids": [b for _, b in battles]}
        trainer = RewardTrainer(
            model=model,
            args=stock,
            train_dataset=datasets.Dataset.from_dict(pairs),
            processing_class=tokenizer,
            peft_config=get_peft_config(arguments),
            callbacks=[watch],
        )
    watch.watch(trainer)
    return trainer


def train(bench: Bench, case: TrainingCase) -> dict[str, Any]:
    """Figures of the steps after the first; `losses` are those of all."""
    quiet_libraries()
    config = shape(case.shape, tiny=bench.tiny, layers=bench.layers)
    own = case.system == "ours"
    model = random_model(config, bench.half, bench.device) if own else stock_model(config, bench)
    if case.weights != "half":
        model = quantise(model, case.weights)
    battles = battles_of(bench, case, config.vocab_size)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(bench, case, model, battles, folder, watch)
        forget_peak()
        trainer.train()
    peak = peak_gib()
    seconds = watch.times[-1] - watch.times[1]
    row: dict[str, Any] = {
        "layers": config.num_hidden_layers,
        "step_seconds": seconds / (case.steps - 1),
        "row_tokens_a_second": sum(watch.tokens[1 : case.steps]) / seconds,
        "peak_gib": peak,
        "losses": [float(loss) for loss in watch.losses[: case.steps]],
    }
    if own:
        read = [battles[place] for step in watch.battles[1 : case.steps] for place in step]
        row |= bench.utilisation(
            needed_flops(trainer.accelerator.unwrap_model(trainer.model), read, training=True), seconds
        )
        row["packed"] = trainer._packed is not None
    del trainer, model
    forget_peak()
    return row


def stock_model(config: Any, bench: Bench) -> Any:
    """A classifier as Transformers makes it."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    with torch.device(bench.device):
        model: Any = AutoModelForSequenceClassification.from_config(config, dtype=bench.half)
    return model.to(bench.device)


def planned_gib(bench: Bench, case: TrainingCase) -> float:
    """What the planner says that tensors hold: without libraries and what the allocator loses."""
    config = shape(case.shape, tiny=bench.tiny, layers=bench.layers)
    half = bench.half == torch.bfloat16
    counted = footprint(
        config,
        model_arguments(bench, case),
        batch_tokens=case.batch_tokens,
        max_length=bench.longest,
        checkpointing=True,
        autocast=half,
        accumulation=False,
        dropout=True,
        reentrant=case.reentrant,
        gpu=bench.device.type == "cuda",
    )
    return (
        held("single", counted, devices=1, optimizer="adamw_torch", half=half, base=0.0, fragmentation=0.0).total / GIB
    )


def tokens_of(bench: Bench, tokens: int) -> int:
    """A step's tokens; few where models are tiny."""
    return 400 if bench.tiny else tokens


def training(bench: Bench, name: str) -> None:
    """LoRA of a half-precision backbone by this project, and by TRL's trainer and collator on the same rows."""
    speeds: dict[str, float] = {}
    for system in ("ours", "trl"):
        row = train(bench, TrainingCase(name, batch_tokens=tokens_of(bench, 8192), system=system))
        speeds[system] = row["row_tokens_a_second"]
        row["losses"] = row["losses"][0]
        ratio = speeds["ours"] / speeds["trl"] if system == "trl" else None
        bench.results.add(f"training_{name}", system=system, **row, ours_by_trl=ratio, ok=row.get("packed", True))


def quantised(bench: Bench) -> None:
    """4-bit steps of both shapes, and 8-bit ones with both kinds of checkpointing."""
    cases = [TrainingCase(name, "nf4", tokens_of(bench, 4096)) for name in ("llama8b", "gemma9b")]
    if bench.device.type == "cuda":
        cases += [TrainingCase("llama8b", "int8", 4096, reentrant=reentrant) for reentrant in (False, True)]
    for case in cases:
        row = train(bench, case)
        row["losses"] = row["losses"][0]
        about = {"model": case.shape, "weights": case.weights, "reentrant": case.reentrant}
        bench.results.add("quantised", **about, **row, ok=row["packed"])


def memory(bench: Bench) -> None:
    """The peak of a step whose rows are all of the longest length, beside the plan; within 15 % is what is wanted."""
    for name, weights, tokens in (("llama8b", "half", 8192), ("llama8b", "nf4", 4096), ("gemma9b", "nf4", 4096)):
        case = TrainingCase(name, weights, 2 * bench.longest if bench.tiny else tokens, steps=2, full=True)
        planned = planned_gib(bench, case)
        with contextlib.suppress(torch.OutOfMemoryError):
            peak = train(bench, case)["peak_gib"]
            ratio = None if peak is None else peak / planned
            about = {"model": name, "weights": weights, "batch_tokens": case.batch_tokens}
            fits = ratio is None or 0.85 <= ratio <= 1.15
            bench.results.add("memory", **about, planned_gib=planned, peak_gib=peak, ratio=ratio, ok=fits)
