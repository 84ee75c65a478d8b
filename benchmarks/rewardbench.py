"""How often the reward of the better response is higher: `python -m benchmarks.rewardbench runs/minilm runs/minilm-export`.

RewardBench's protocol: a battle counts 1 where the chosen response's score is above the rejected one's, ½ where they are
equal, 0 otherwise. RewardBench takes its adversarial chat subsets from LLMBar; here all of LLMBar is read. A run directory
is read by this project's code (style closed), an export by stock code alone; the two must agree.

Source: Lambert et al. (2024), "RewardBench", section 4 (scoring); Zeng et al. (2024), "LLMBar". Its
published protocol is what is used here, not its package.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np

from arena_data.loading import load_battles
from reward_model.api import RewardModel
from reward_model.evaluation.resampling import Resampling
from reward_model.publish.export import CHECK, stock_rewards

LLMBAR = Path(__file__).parents[2] / "shared" / "data" / "other" / "llmbar.jsonl"


def wins(rewards_a: np.ndarray, rewards_b: np.ndarray, verdicts: np.ndarray) -> np.ndarray:
    """float64 [n]: 1, ½ or 0. verdicts: float [n, 3], of which ties are no part of the protocol.

    Raises: ValueError for a battle that was called a tie.
    """
    if (verdicts[:, 2] > 0).any():
        raise ValueError("a battle was called a tie; RewardBench has a chosen response in every battle")
    chosen = np.where(verdicts[:, 0] > 0.5, 1, -1)
    scored: np.ndarray = (np.sign((rewards_a - rewards_b) * chosen) + 1) / 2
    return scored


def rewards(model: Path, battles: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """float64 [n] each: the rewards of responses A and of responses B."""
    prompts, a, b = (list(battles[name]) for name in ("prompt", "response_a", "response_b"))
    if (model / CHECK).is_file():
        return stock_rewards(model, prompts, a, None), stock_rewards(model, prompts, b, None)
    loaded = RewardModel.from_pretrained(model, dtype="float32")
    return loaded.reward(prompts, a), loaded.reward(prompts, b)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help="run directories and exports")
    parser.add_argument("--input", default=str(LLMBAR), help="battles without ties; LLMBar if not given")
    parser.add_argument("--max_battles", type=int, help="use only so many, spread over the file")
    options = parser.parse_args(arguments)
    battles = load_battles(options.input, labels="required")
    if options.max_battles:
        battles = battles.select(np.linspace(0, len(battles) - 1, options.max_battles).astype(int))
    verdicts, subsets = np.asarray(list(battles["verdict"])), np.asarray(battles["source"])
    resampling = Resampling(list(battles["group"]))
    for model in options.models:
        scored = wins(*rewards(model, battles), verdicts)
        print(f"\n{model.name}: accuracy, 95 % interval, {len(battles):,} battles")
        for name in ["all", *sorted(set(subsets))]:
            inside = np.ones(len(battles), dtype=bool) if name == "all" else subsets == name
            found = resampling.mean(scored, inside)
            print(f"{name:<45}{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}) {found['battles']:>6}")


if __name__ == "__main__":
    main()
