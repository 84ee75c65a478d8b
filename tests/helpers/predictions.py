"""Predictions from small run directories, for tests that compare them."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from reward_model.cli.flags import PredictionFlags, open_predictor
from reward_model.model.score_layer import score_inputs
from reward_model.model.tie_links import log_probabilities
from reward_model.predict.predictor import Predictor
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
from reward_model.tokens.encoding import BattleEncoder
from reward_model.tokens.encodings import encoding_named
from reward_model.train.dataset import style_of

SAMPLE = Path(__file__).parents[2] / "arena_data" / "sample.csv"


def predictor(path: Path, **flags: Any) -> Predictor:
    return open_predictor(PredictionFlags(model=[str(path)], dtype="float32", device="cpu", **flags))


def swapped(battles: datasets.Dataset) -> datasets.Dataset:
    columns = battles.to_dict()
    columns["response_a"], columns["response_b"] = columns["response_b"], columns["response_a"]
    return datasets.Dataset.from_dict(columns, features=battles.features)


def by_itself(path: Path, battles: datasets.Dataset) -> np.ndarray:
    """Log-probabilities of each battle with nothing batched or padded, and style given to the model itself."""
    run = read_run(path)
    loaded = load_run_model(run, LoadOptions(dtype="float32", device="cpu"))
    encoding = run.config.encoding
    rows = BattleEncoder(loaded.tokenizer, run.config.max_length, encoding_named(encoding))(battles)
    style, head = style_of(battles), run.style
    assert head is not None
    a, b, pair = (
        torch.from_numpy(x)
        for x in (head.scale.side.apply(style.a), head.scale.side.apply(style.b), head.scale.pair.apply(style.pair))
    )
    styles = (a - b, b - a) if encoding == "joint" else (a, b)
    scores = torch.zeros(len(battles), 2, 2, dtype=torch.float64)
    with torch.no_grad():
        for row in range(len(battles)):
            for side, name in enumerate(("input_ids_a", "input_ids_b")):
                ids = torch.tensor([rows[row][name]])
                chosen = slice(row, row + 1)
                last = torch.tensor([ids.shape[1] - 1])
                with score_inputs(loaded.model, positions=last, style=styles[side][chosen], pair=pair[chosen]):
                    scores[row, side] = loaded.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    margin = (scores[:, 0, 0] - scores[:, 1, 0]) / (2 if encoding == "joint" else 1)
    raw = log_probabilities(margin, scores[..., 1].mean(dim=1), run.config.tie_link)
    return run.calibration.apply(raw.numpy())


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
