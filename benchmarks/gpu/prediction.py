"""Prediction by the project's own scorer: battles a second, share of the peak, memory; and running out of it on purpose."""

import functools
import warnings
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.device import GIB, allocated_gib, forget_peak, peak_gib, seconds
from benchmarks.gpu.models import (
    WordTokenizer,
    needed_flops,
    random_battles,
    random_model,
    row_tokens,
    shape,
)
from reward_model.predict.scorer import Scorer
from reward_model.run_directory.load_model import LoadedModel


def loaded(bench: Bench, model: Any) -> LoadedModel:
    return LoadedModel(model, WordTokenizer.make(), bench.device, bench.half)


def prediction(bench: Bench, name: str, ways: tuple[str, ...] = ("packed", "padded")) -> None:
    """A shard's worth of battles, longest first as `reward_model.predict.shard_loop` hands them over."""
    config = shape(name, tiny=bench.tiny, layers=bench.layers)
    model = random_model(config, bench.half, bench.device)
    battles = random_battles(4 if bench.tiny else 128, bench.longest, config.vocab_size, seed=2)
    battles.sort(key=lambda battle: -max(map(len, battle)))
    rows = [row for battle in battles for row in battle]
    flops = needed_flops(model, battles, training=False)
    for way in ways:
        forget_peak()
        weights = allocated_gib()
        scorer = Scorer(loaded(bench, model), None, bench.longest, packing=way == "packed")
        budget = scorer.batch_tokens
        forget_peak()
        _, again = seconds(functools.partial(scorer.score, rows), repeats=1)
        peak = peak_gib()
        bench.results.add(
            f"prediction_{name}",
            way=way,
            layers=config.num_hidden_layers,
            battles_a_second=len(battles) / again,
            row_tokens_a_second=row_tokens(battles) / again,
            **bench.utilisation(flops, again),
            batch_tokens=budget,
            gib_above_weights=None if peak is None else peak - weights,
            # Nothing was lowered, nothing failed, and what should be read packed is.
            ok=scorer.batch_tokens == budget
            and not scorer.first_error
            and (scorer.packed is not None) == (way == "packed"),
        )


def out_of_memory(bench: Bench) -> None:
    """A budget far too large: scores are those of a small one, after batches were lowered."""
    config = shape("llama8b", tiny=bench.tiny, layers=4)
    model = random_model(config, bench.half, bench.device)
    battles = random_battles(4 if bench.tiny else 64, min(bench.longest, 1024), config.vocab_size, seed=5)
    rows = [row for battle in battles for row in battle]
    expected = Scorer(loaded(bench, model), 4096, 1024).score(rows)
    scorer = Scorer(loaded(bench, model), 10**7, 1024)
    if bench.device.type == "cuda":
        forget_peak()
        total = torch.cuda.get_device_properties(bench.device).total_memory
        torch.cuda.set_per_process_memory_fraction((allocated_gib() + 1.0) * GIB / total)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = scorer.score(rows)
    finally:
        if bench.device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    off = float(np.abs(scores - expected).max() / expected.std())
    lowered = scorer.batch_tokens < 10**7
    bench.results.add(
        "out_of_memory",
        rows=len(rows),
        lowered=lowered,
        batch_tokens=scorer.batch_tokens,
        differs_by=off,
        ok=bool(np.isfinite(scores).all()) and off < 0.1 and (lowered or bench.device.type == "cpu"),
    )
