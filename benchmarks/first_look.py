"""The README's picture: one comparison, and what it is worth to say the same answer twice, both by `arena-minilm`.

    python -m benchmarks.first_look --input no_ties.jsonl

On the left: P(A), P(B), P(tie) of two answers. On the right: the win share of an answer said twice against itself said once,
over the responses of the file, which the judge should not have learned from: by what people would vote, and by the reward
alone, with each battle's tie strength as it was. Intervals are of the mean over prompts.
"""

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arena_data.file_io import write_bytes_atomically
from arena_data.loading import load_battles
from arena_data.webpage.drawing import ACCENT, INK, MUTED, VERDICT_COLOURS
from reward_model.api import RewardModel
from reward_model.audit.counterfactuals import said_twice
from reward_model.evaluation.resampling import Resampling
from reward_model.evaluation.votes import score
from reward_model.model.tie_links import log_probabilities

PROMPT = "Why is the sky blue?"
ANSWER_A = "Air scatters blue light more than red."
ANSWER_B = "I'm sorry, but as an AI language model I cannot answer that."
MOST_BATTLES = 200


def said_twice_gains(model: RewardModel, battles: Any) -> dict[str, dict[str, Any]]:
    """Win share of the doubled answer less a half, with its interval, in points of a hundred battles."""
    prompts, once = list(battles["prompt"]), list(battles["response_a"])
    twice = [[*turns[:-1], said_twice(turns[-1] or "")] for turns in once]
    log_probs = np.log(model.compare(prompts, twice, once))
    tie_strength = log_probs[:, 2] - log_probs[:, :2].mean(axis=1)
    margins = {
        "votes as they are": log_probs[:, 0] - log_probs[:, 1],
        "the reward,\nstyle closed": model.reward(prompts, twice) - model.reward(prompts, once),
    }
    resampling = Resampling(list(battles["group"]))
    verdicts = {
        name: log_probabilities(torch.from_numpy(margin), torch.from_numpy(tie_strength), "davidson").exp()
        for name, margin in margins.items()
    }
    return {name: dict(resampling.mean(100 * (score(shares) - 0.5))) for name, shares in verdicts.items()}


def draw(probabilities: tuple[float, float, float], gains: dict[str, dict[str, Any]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 2.9), dpi=150, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    names = ["A is better", "B is better", "tie"]
    bars = left.barh(names, [100 * p for p in probabilities], color=list(VERDICT_COLOURS.values()), height=0.62)
    left.bar_label(bars, [f"{100 * p:.0f} %" for p in probabilities], padding=4, color=INK)
    left.set_title("Which answer do people prefer?", loc="left", fontweight="bold")
    left.set_xlim(0, 100)
    for place, (name, gain) in enumerate(gains.items()):
        reach = [[gain["value"] - gain["low"]], [gain["high"] - gain["value"]]]
        colour = ACCENT if place else VERDICT_COLOURS["B"]
        right.barh([name], [gain["value"]], xerr=reach, color=colour, height=0.5, capsize=3)
        right.annotate(f" {gain['value']:+.1f}", (max(gain["high"], 0), place), va="center", color=INK)
    right.axvline(0, color=MUTED, linewidth=1)
    right.set_xlim(
        min(-1.0, *(gain["low"] for gain in gains.values())), 1.25 * max(gain["high"] for gain in gains.values())
    )
    right.set_title("What saying it twice wins", loc="left", fontweight="bold")
    right.set_xlabel("battles in a hundred")
    for axes in (left, right):
        axes.invert_yaxis()
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
    right.spines["left"].set_visible(False)
    left.set_xticks([])
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", default="docs/images/first-look.png")
    flags = parser.parse_args()
    model = RewardModel.from_pretrained("arena-minilm", calibrated=False)
    battles = load_battles(flags.input)
    battles = battles.select(range(min(len(battles), MOST_BATTLES)))
    gains = said_twice_gains(model, battles)
    (probabilities,) = RewardModel.from_pretrained("arena-minilm").compare([PROMPT], [ANSWER_A], [ANSWER_B])
    print(probabilities, gains)
    write_bytes_atomically(Path(flags.output), draw(probabilities, gains))


if __name__ == "__main__":
    main()
