"""How true and how narrow the intervals of `arena-reward votes` are on real battles: `python -m benchmarks.votes`.

../shared/data/predictions/arena_heldout.csv has 7,180 battles with verdicts and real predictions. Each draw is a sample of
that many battles with replacement, of which some keep their votes; the truth is A's share in the 7,180. Prints how often
the interval holds the truth, its width, and the width of the votes alone. "asked" spends half of the votes at random, and
the other half on the battles that the first half picks.
"""

import argparse

import numpy as np
from tqdm import tqdm

from benchmarks.calibration import read_predictions
from reward_model.calibration.calibration import fit
from reward_model.evaluation.votes import ask, score, win_share

VOTES = (200, 500, 1000)


def measure(draws: int) -> None:
    log_probs, verdicts = read_predictions()
    voted = score(verdicts)
    truth, rows = voted.mean(), len(voted)
    print(f"A's share: {truth:.4f}")
    print("model, votes, asked, draws that hold it, width, width of votes alone, narrower, trust")
    for model in ("llm", "lexical"):
        calibrated = np.exp(fit(log_probs[model], verdicts, method="temperature").apply(log_probs[model]))
        for name, probabilities in (("raw", np.exp(log_probs[model])), ("temperature", calibrated)):
            for number in VOTES:
                for active in (False, True):
                    figures = []
                    for seed in tqdm(range(draws), desc=f"{model} {name} {number}"):
                        random = np.random.default_rng(seed)
                        sample = random.integers(rows, size=rows)
                        known, chances = np.full(rows, np.nan), None
                        first = random.permutation(rows)[: number // 2 if active else number]
                        known[first] = voted[sample[first]]
                        if active:
                            picked, chances = ask(probabilities[sample], ~np.isnan(known), number // 2, None, seed)
                            known[picked] = voted[sample[picked]]
                        share = win_share(score(probabilities[sample]), known, None, chances)
                        held = share.powered.low <= truth <= share.powered.high
                        figures.append((held, share.powered.width, share.alone.width, share.trust))
                    held, width, alone, trust = np.mean(figures, axis=0)
                    how = "half" if active else "none"
                    line = f"{held:.3f}, {width:.4f}, {alone:.4f}, {1 - width / alone:.1%}, {trust:.2f}"
                    print(f"{model} {name}, {number}, {how}, {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=500)
    measure(parser.parse_args().draws)


if __name__ == "__main__":
    main()
