"""Does a run fit, and how long does it take? `arena-reward plan --config recipes/X.yaml --gpus 8 --memory 80`.

Nothing is loaded and nothing is downloaded for a model directory or a model that `architectures` knows: `footprint` counts,
`engines` shares out, and this module prints. Any flag of train_reward.py overrides the recipe. Exit status: 0 where the
run fits under some engine, 1 where under none, 2 for bad input.

    seconds = tokens x FLOPs a token / (devices x peak FLOPs a second x MFU)

Tokens a battle were measured on 964 battles of the LMSYS competition; MFU, the share of the
peak that is reached (Chowdhery et al. 2022, PaLM, appendix B), is an assumption unless you measured it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from trl import ModelConfig

from reward_model.model.quantised import quantisation_method
from reward_model.plan.engines import ENGINES, Held, held
from reward_model.plan.footprint import Footprint, footprint
from reward_model.plan.known_backbones import backbone_config
from reward_model.train.settings.config import DataArguments, TieRewardConfig
from reward_model.train.settings.recipe import RecipeParser
from reward_model.train.settings.setting_checks import check_ranges

GIB = 2**30
# Dense bf16 (T4: fp16) tensor FLOPs a second with float32 accumulation, from NVIDIA's data sheets; `cpu`: two cores with
# AVX512-BF16, a matrix product measured in float32 (bf16 is four times that).
PEAK_TFLOPS = {
    "t4": 65.0,
    "l4": 121.0,
    "rtx3090": 71.0,
    "rtx4090": 165.0,
    "a100": 312.0,
    "h100": 989.0,
    "cpu": 0.19,
}
# Tokens a battle, both rows, by max_length; measured with SmolLM2's tokenizer.
TOKENS = {
    "separate": ((512, 1024, 2048), (642, 790, 859)),
    "joint": ((2048, 3072), (1456, 1515)),
}
LIBRARIES = {"cuda": 1.0 * GIB, "cpu": 0.9 * GIB}
FRAGMENTATION = {"cuda": 0.05, "cpu": 0.05}


@dataclass
class PlanArguments:
    """Where the run would go.

    Args:
        gpus: number of devices, of all machines together.
        memory: memory of one device, in GiB.
        device: the kind of device.
        peak_tflops: peak of one device in TFLOP/s, for a kind that is not listed (default: the kind's).
        mfu: share of that peak that training reaches.
        battles: rows of the training file.
        tokens_per_battle: tokens of both rows of a battle (default: measured, by encoding and max_length).
        engine: show this engine only (default: all that suit the number of devices).
    """

    gpus: int = 1
    memory: float = 24.0
    device: str = field(default="a100", metadata={"choices": sorted(PEAK_TFLOPS)})
    peak_tflops: float | None = None
    mfu: float = 0.3
    battles: int = 57_477
    tokens_per_battle: float | None = None
    engine: str | None = field(default=None, metadata={"choices": list(ENGINES)})


@dataclass(frozen=True)
class Plan:
    """What was counted for one recipe on one set of devices. quantised: how the backbone is, in words; empty for not."""

    counted: Footprint
    engines: tuple[Held, ...]
    tokens: float
    train_seconds: float
    evaluation_seconds: float
    quantised: str = ""

    def fitting(self, memory: float) -> list[str]:
        """Names of the engines under which a device holds at most `memory` GiB."""
        return [one.engine for one in self.engines if one.total <= memory * GIB]


def parser() -> RecipeParser:
    """The planner's flags and the recipe's."""
    kinds = [PlanArguments, DataArguments, TieRewardConfig, ModelConfig]
    return RecipeParser(kinds, "plan", "Says whether a run fits and how long it takes, before anything is rented.")


def parse(arguments: Sequence[str]) -> Any:
    """The recipe and the flags as one namespace. The trainer's settings are not made: they would ask for its GPU here.

    Raises: ValueError for a recipe that is not there or has names that no setting has.
    """
    made = parser()
    return made.parse_args(made.apply_recipe(arguments))


def tokens_per_battle(encoding: str, max_length: int) -> float:
    """Tokens of a battle's two rows on the competition's data; between and beyond what was measured, by straight lines."""
    lengths, tokens = TOKENS[encoding]
    return min(2.0 * max_length, float(np.interp(max_length, lengths, tokens)))


def plan(settings: Any) -> Plan:
    """Counts what `parse` read. Raises: ValueError for a backbone that is not there or cannot be counted."""
    if not settings.model_name_or_path:
        raise ValueError("model_name_or_path is not given; name a recipe with --config")
    check_ranges(settings)
    if settings.gpus < 1:
        raise ValueError(f"gpus is {settings.gpus}; expected 1 or more")
    config = backbone_config(settings.model_name_or_path)
    model = ModelConfig(**{name: getattr(settings, name) for name in ModelConfig.__dataclass_fields__})
    half = bool(settings.bf16 or settings.fp16)
    kind = "cpu" if settings.device == "cpu" else "cuda"
    counted = footprint(
        config,
        model,
        batch_tokens=settings.batch_tokens,
        max_length=settings.max_length,
        checkpointing=bool(settings.gradient_checkpointing),
        autocast=half,
        accumulation=settings.gradient_accumulation_steps > 1,
        dropout=not settings.disable_dropout,
        reentrant=bool((settings.gradient_checkpointing_kwargs or {}).get("use_reentrant")),
        gpu=kind == "cuda",
    )
    if settings.engine:
        names: tuple[str, ...] = (settings.engine,)
    else:
        names = ("single", "zero2_offload", "zero3_offload") if settings.gpus == 1 else ENGINES[1:]
    engines = tuple(
        held(
            name,
            counted,
            devices=settings.gpus,
            optimizer=str(getattr(settings.optim, "value", settings.optim)),
            half=half,
            base=LIBRARIES[kind],
            fragmentation=FRAGMENTATION[kind],
        )
        for name in names
    )
    each = settings.tokens_per_battle or tokens_per_battle(settings.encoding, settings.max_length)
    held_out = settings.validation_share if settings.num_folds is None else 1 / settings.num_folds
    trained_share = (1 - held_out) * (1 - settings.calibration_share)
    tokens = settings.battles * each * trained_share * settings.num_train_epochs
    read = (
        settings.battles
        * each
        * (held_out * (settings.num_train_epochs + 1) + (1 - held_out) * settings.calibration_share)
    )
    peak = (settings.peak_tflops or PEAK_TFLOPS[settings.device]) * 1e12 * settings.mfu * settings.gpus
    return Plan(
        counted=counted,
        engines=engines,
        tokens=tokens,
        train_seconds=tokens * counted.flops_per_token(each / 2) / peak,
        evaluation_seconds=read * counted.flops_per_token(each / 2, training=False) / peak,
        quantised=quantisation_method(config)
        or ("4-bit" if model.load_in_4bit else "8-bit" if model.load_in_8bit else ""),
    )


def plan_table(settings: Any, found: Plan) -> str:
    """The plan as Markdown."""
    counted = found.counted
    each = settings.tokens_per_battle or tokens_per_battle(settings.encoding, settings.max_length)
    quantised = f"{found.quantised}, " if found.quantised else ""
    lines = [
        f"{settings.model_name_or_path}: {counted.parameters / 1e6:,.1f}M parameters"
        f" ({counted.matrix / 1e6:,.1f}M multiplied, {counted.embedding / 1e6:,.1f}M embeddings),"
        f" {quantised}{counted.trained / 1e6:,.1f}M trained",
        f"batch of {settings.batch_tokens:,} tokens a device, max_length {settings.max_length:,},"
        f" gradient checkpointing {'on' if counted.checkpointing else 'off'}",
        "",
        f"GiB on each of {settings.gpus} x {settings.memory:g} GiB ({settings.device})",
        "",
        "| engine | weights | gradients | optimizer | activations | gathered | overhead | total | fits |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    fitting = found.fitting(settings.memory)
    for one in found.engines:
        parts = (one.weights, one.gradients, one.optimizer, one.activations, one.gathered, one.overhead, one.total)
        cells = " | ".join(f"{part / GIB:.2f}" for part in parts)
        moved = f", {one.offloaded / GIB:.1f} in main memory" if one.offloaded else ""
        lines.append(f"| {one.engine} | {cells} | {'yes' if one.engine in fitting else 'no'}{moved} |")
    lines += [
        "",
        f"{settings.battles:,} battles x {each:,.0f} tokens, {settings.num_train_epochs:g} epochs:"
        f" {found.tokens / 1e6:,.1f}M tokens to train on,"
        f" {counted.flops_per_token(each / 2) / 1e9:,.2f} GFLOP each",
        f"at {settings.mfu:.0%} of {settings.peak_tflops or PEAK_TFLOPS[settings.device]:g} TFLOP/s a device:"
        f" {hours(found.train_seconds)} of training and {hours(found.evaluation_seconds)} of evaluation",
    ]
    return "\n".join(lines)


def hours(seconds: float) -> str:
    """As people say it."""
    return f"{seconds / 3600:,.1f} hours" if seconds >= 3600 else f"{seconds / 60:,.1f} minutes"
