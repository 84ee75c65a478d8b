"""Trains a tie-aware reward model from battles: `python train_reward.py --config recipes/minilm_cpu.yaml`.

The stages of a run are in `reward_model/cli/train.py`; the same command is `arena-reward train`.
"""

import sys

from reward_model.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
