"""The systems of `benchmarks.speed.prediction`: each loads, scores the battles once, and says how fast."""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerBase, pipeline

from arena_data.loading import load_battles
from arena_data.transcripts.rendering import adds_special_tokens, render
from reward_model.calibration.calibration import Calibration
from reward_model.model.backbone import dtype_named, set_pad_token
from reward_model.model.device import default_device
from reward_model.model.score_layer import install_score_layer, score_module_name
from reward_model.quiet import quiet_transformers
from reward_model.run_directory.settings import RewardModelConfig
from reward_model.run_directory.writing import write_run
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.tokenizer import load_tokenizer

MATMUL_SIZE = 2048
WARM_UP = 4


def main_of_one(options: argparse.Namespace) -> dict[str, float]:
    """Battles a second, share of the matrix-multiply rate, peak memory in GB; "run" only makes the run directory."""
    torch.set_num_threads(options.threads)
    if options.one == "run":
        make_run(options)
        return {}
    battles = chosen_battles(options)
    with quiet_transformers():
        score = SYSTEMS[options.one](options)
    score(battles.select(range(WARM_UP)))
    before = matmul_rate(options)
    started, computing = time.perf_counter(), time.process_time()
    found = score(battles)
    seconds, core_seconds = time.perf_counter() - started, time.process_time() - computing
    rate = (before + matmul_rate(options)) / 2
    if not np.isfinite(found).all() or found.shape != (len(battles), 2):
        raise ValueError(f"{options.one} gave scores of shape {found.shape}, or some that are not finite")
    memory = (
        torch.cuda.max_memory_allocated() / 1e9
        if torch.cuda.is_available()
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    )
    tokens, operations = work(options, battles)
    return {
        "battles_per_second": len(battles) / seconds,
        "battles_per_core_second": len(battles) / core_seconds,
        "tokens_per_second": tokens / seconds,
        "share": operations / seconds / rate,
        "memory_gb": memory,
        "score_mean": float(found.mean()),
    }


def chosen_battles(options: argparse.Namespace) -> datasets.Dataset:
    battles = load_battles(options.input)
    places = np.linspace(0, len(battles) - 1, min(options.battles, len(battles))).round().astype(int)
    return battles.select(places)


def stock_model(options: argparse.Namespace) -> tuple[Any, PreTrainedTokenizerBase]:
    """As a notebook loads it: the model of the run directory, its score layer read plainly."""
    tokenizer = load_tokenizer(options.output_dir)
    model = AutoModelForSequenceClassification.from_pretrained(
        options.output_dir, num_labels=1, trust_remote_code=False, dtype=dtype_named(options.dtype)
    )
    set_pad_token(model, tokenizer)
    return model.to(default_device()).eval(), tokenizer


def make_run(options: argparse.Namespace) -> None:
    """A run directory of the backbone with a score layer that nothing has trained."""
    torch.manual_seed(0)
    tokenizer = load_tokenizer(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model, num_labels=1, trust_remote_code=False, dtype=torch.float32
    )
    install_score_layer(model, style_features=0, tie_bias=0.0)
    set_pad_token(model, tokenizer)
    folder = Path(options.output_dir)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = RewardModelConfig(
        encoding="separate",
        tie_link="davidson",
        max_length=options.max_length,
        base_model=Path(options.model).name,
        model_type="full",
        score_module=score_module_name(model),
        style=False,
    )
    write_run(folder, config, None, Calibration(), {}, [])


def texts_of(tokenizer: PreTrainedTokenizerBase, battles: datasets.Dataset) -> list[str]:
    """Two texts a battle, in the order of the file."""
    rendering: Any = tokenizer
    return [render(rendering, row["prompt"], row[side]) for row in battles for side in ("response_a", "response_b")]


def notebook(options: argparse.Namespace) -> Callable[[datasets.Dataset], np.ndarray]:
    model, tokenizer = stock_model(options)

    @torch.inference_mode()
    def score(battles: datasets.Dataset) -> np.ndarray:
        texts = texts_of(tokenizer, battles)
        encoded = tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=options.max_length,
            add_special_tokens=adds_special_tokens(tokenizer),
            return_tensors="pt",
        )
        found = []
        for start in range(0, len(texts), options.batch_size):
            batch = {
                name: values[start : start + options.batch_size].to(default_device())
                for name, values in encoded.items()
            }
            found.append(model(**batch).logits.float().cpu())
        return torch.cat(found).reshape(-1, 2).numpy()

    return score


def transformers_pipeline(options: argparse.Namespace) -> Callable[[datasets.Dataset], np.ndarray]:
    model, tokenizer = stock_model(options)
    making: Any = pipeline
    classify = making(
        "text-classification",
        model=model,
        tokenizer=tokenizer,
        device=default_device(),
        batch_size=options.batch_size,
        function_to_apply="none",
    )

    def score(battles: datasets.Dataset) -> np.ndarray:
        settings: dict[str, Any] = {"truncation": True, "max_length": options.max_length, "padding": True}
        found = classify(texts_of(tokenizer, battles), **settings)
        return np.array([row["score"] for row in found]).reshape(-1, 2)

    return score


def cross_encoder(options: argparse.Namespace) -> Callable[[datasets.Dataset], np.ndarray]:
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(
        options.output_dir,
        num_labels=1,
        trust_remote_code=False,
        max_length=options.max_length,
        device=str(default_device()),
        model_kwargs={"dtype": dtype_named(options.dtype)},
    )
    tokenizer = load_tokenizer(options.output_dir)
    set_pad_token(model[0].auto_model if hasattr(model, "__getitem__") else model.model, tokenizer)

    def score(battles: datasets.Dataset) -> np.ndarray:
        pairs = [
            ("\n\n".join(row["prompt"]), "\n\n".join(row[side]))
            for row in battles
            for side in ("response_a", "response_b")
        ]
        found = model.predict(pairs, batch_size=options.cross_encoder_batch_size, show_progress_bar=False)
        return np.asarray(found, dtype=np.float64).reshape(-1, 2)

    return score


def ours(options: argparse.Namespace) -> Callable[[datasets.Dataset], np.ndarray]:
    from reward_model.cli.flags import PredictionFlags, open_predictor
    from reward_model.predict.member import Job

    flags = PredictionFlags(model=[options.output_dir], dtype=options.dtype, batch_tokens=options.batch_tokens)
    predictor = open_predictor(flags)

    def score(battles: datasets.Dataset) -> np.ndarray:
        scores = predictor.run(Job(battles)).members[0].scores
        assert scores is not None
        return np.stack([scores.reward_a, scores.reward_b], axis=1)

    return score


SYSTEMS: dict[str, Callable[[argparse.Namespace], Callable[[datasets.Dataset], np.ndarray]]] = {
    "notebook": notebook,
    "pipeline": transformers_pipeline,
    "cross_encoder": cross_encoder,
    "ours": ours,
}


def matmul_rate(options: argparse.Namespace) -> float:
    """Operations a second of a square matrix product in the dtype, the best of a few."""
    a, b = (
        torch.randn(MATMUL_SIZE, MATMUL_SIZE, device=default_device(), dtype=dtype_named(options.dtype))
        for _ in range(2)
    )

    def once() -> float:
        started = time.perf_counter()
        (a @ b).sum().item()
        return time.perf_counter() - started

    once()
    return float(2 * MATMUL_SIZE**3 / min(once() for _ in range(5)))


def work(options: argparse.Namespace, battles: datasets.Dataset) -> tuple[int, float]:
    """Tokens, and operations of reading each of a battle's two texts by itself, nothing padded or shared."""
    tokenizer = load_tokenizer(options.output_dir)
    rows = BattleEncoder(tokenizer, options.max_length)(battles)
    lengths = np.array([len(ids) for side in "ab" for ids in rows[f"input_ids_{side}"]])
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(
            AutoConfig.from_pretrained(options.output_dir, num_labels=1, trust_remote_code=False)
        )
    embeddings = {id(parameter) for parameter in model.get_input_embeddings().parameters()}
    weights = sum(p.numel() for p in model.parameters() if id(p) not in embeddings and p.ndim == 2)
    config = model.config.get_text_config()
    heads = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    pairs = float((lengths.astype(float) ** 2).sum()) / (
        2 if hasattr(model, "score") else 1
    )  # half of them where causal
    attention = 4 * heads * config.num_hidden_layers * pairs
    return int(lengths.sum()), 2 * weights * float(lengths.sum()) + attention
