"""Training speed against TRL's RewardTrainer: `python -m benchmarks.speed.training [--model_name_or_path models/minilm]`.

Both train the same model on the same battles of ../shared/data/arena/train.csv (or the sample where that is absent), cut to
the same token ids; TRL gets A as chosen and B as rejected, ties included, so that neither skips a row. Precision, threads,
optimizer and gradient checkpointing (off) are the same, and so is the mean number of battles in a batch. TRL takes its rows
in random order and pads each batch to its longest; that is what is measured.

Each run is a process of its own, in turns; printed are medians of real (not padding) tokens per second between the first
step and the end of an epoch, and the ratio. Padding below 0 is prompts that were read once for both responses.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.speed.reading import REAL, REPOSITORY

SYSTEMS = ("trl", "ours")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_name_or_path", default="models/minilm")
    parser.add_argument(
        "--train_file", default=str(REAL if REAL.exists() else REPOSITORY / "arena_data" / "sample.csv")
    )
    parser.add_argument("--battles", type=int, default=96)
    parser.add_argument("--max_length", type=int, default=512)
    parser.add_argument(
        "--full_rows", action="store_true", help="only battles of which both sides fill max_length to 95 %%"
    )
    parser.add_argument("--batch_tokens", type=int, default=4096)
    parser.add_argument("--use_peft", action="store_true", help="LoRA of rank 16 on all linear layers")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=SYSTEMS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.one:
        print(json.dumps(measure(options, options.one)))
        return
    found: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
    for _ in range(options.repeats):
        for system in SYSTEMS:
            command = [sys.executable, "-m", "benchmarks.speed.training", *sys.argv[1:], "--one", system]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{system} failed:\n{done.stderr[-2000:]}")
            found[system].append(json.loads(done.stdout.splitlines()[-1]))
            print(system, found[system][-1], file=sys.stderr)
    print("| | real tokens a second, median (range) | padding | peak memory |")
    print("| --- | --- | --- | --- |")
    for system in SYSTEMS:
        speeds = [run["tokens_per_second"] for run in found[system]]
        padding, memory = (statistics.median(run[key] for run in found[system]) for key in ("padding", "memory_mb"))
        spread = f"{statistics.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})"
        print(f"| {system} | {spread} | {padding:.1%} | {memory:,.0f} MB |")
    pairs = zip(found["ours"], found["trl"], strict=True)
    ratios = [ours["tokens_per_second"] / trl["tokens_per_second"] for ours, trl in pairs]
    print(f"\nratio in the same turn, median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def measure(options: argparse.Namespace, system: str) -> dict[str, float]:
    """One epoch; real tokens a second, the share of padding, and the peak of memory in MB."""
    import resource  # the imports below take seconds: only in the process that measures

    import datasets
    import numpy as np
    import torch
    from transformers import AutoModelForSequenceClassification, TrainerCallback, set_seed
    from trl import ModelConfig, RewardConfig, RewardTrainer, get_peft_config

    from arena_data.loading import load_battles
    from reward_model.model.device import default_device, keep_one_device
    from reward_model.tokens.encoding import BattleEncoder
    from reward_model.tokens.token_budget import pack
    from reward_model.tokens.tokenizer import load_tokenizer
    from reward_model.train.build_model import load_model, lora_config
    from reward_model.train.dataset import training_rows
    from reward_model.train.settings.config import TieRewardConfig
    from reward_model.train.trainer import TieRewardTrainer

    set_seed(0)
    tokenizer = load_tokenizer(options.model_name_or_path)
    battles = load_battles(options.train_file, labels="required")
    order = np.random.default_rng(0).permutation(len(battles))
    if not options.full_rows:
        order = order[: options.battles]
    rows = training_rows(battles.select(order), BattleEncoder(tokenizer, options.max_length), None, None)
    if options.full_rows:
        shorter = np.minimum(rows["length_a"], rows["length_b"])
        rows = rows.select(np.flatnonzero(shorter >= 0.95 * options.max_length)[: options.battles])
    lengths = np.stack([rows["length_a"], rows["length_b"]], axis=1)
    batch = round(len(rows) / len(pack(np.arange(len(rows)), lengths, options.batch_tokens)))
    arguments = ModelConfig(
        model_name_or_path=options.model_name_or_path, use_peft=options.use_peft, lora_r=16, lora_task_type="SEQ_CLS"
    )
    clock: dict[str, float] = {}
    padded: list[int] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            clock.setdefault("start", time.perf_counter())

        def on_train_end(self, *args: Any, **kwargs: Any) -> None:
            clock["end"] = time.perf_counter()

    with tempfile.TemporaryDirectory() as directory:
        common: dict[str, Any] = {
            "output_dir": directory,
            "bf16": options.bf16,
            "use_cpu": default_device().type == "cpu",
            "num_train_epochs": 1,
            "report_to": "none",
            "save_strategy": "no",
            "eval_strategy": "no",
            "gradient_checkpointing": False,
            "max_length": None,
            "disable_tqdm": True,
        }
        if system == "ours":
            model = load_model(arguments, tokenizer, style_features=0, tie_bias=0.0)
            config = TieRewardConfig(
                **common | {"max_length": options.max_length, "load_best_model_at_end": False},
                batch_tokens=options.batch_tokens,
                style=False,
            )
            trainer: Any = TieRewardTrainer(
                model=model,
                args=config,
                train_dataset=rows,
                processing_class=tokenizer,
                peft_config=lora_config(arguments, model),
                callbacks=[Clock()],
            )
        else:
            model = AutoModelForSequenceClassification.from_pretrained(
                options.model_name_or_path, num_labels=1, trust_remote_code=False, dtype=torch.float32
            )
            model.config.pad_token_id = tokenizer.pad_token_id
            pairs = {"chosen_ids": rows["input_ids_a"], "rejected_ids": rows["input_ids_b"]}
            stock_config = RewardConfig(**common, per_device_train_batch_size=batch)
            keep_one_device(stock_config)
            trainer = RewardTrainer(
                model=model,
                args=stock_config,
                train_dataset=datasets.Dataset.from_dict(pairs),
                processing_class=tokenizer,
                peft_config=get_peft_config(arguments),
                callbacks=[Clock()],
            )
        trainer.model.register_forward_pre_hook(
            lambda module, args, given: padded.append(given["input_ids"].numel()), with_kwargs=True
        )
        trainer.train()
    real = int(lengths.sum())
    return {
        "tokens_per_second": real / (clock["end"] - clock["start"]),
        "padding": 1 - real / sum(padded),
        "battles_in_a_batch": batch,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1024 if os.uname().sysname == "Linux" else 2**20),
    }


if __name__ == "__main__":
    main()
