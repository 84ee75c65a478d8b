"""Battles in, a submission out: `python predict.py --model runs/minilm --input test.csv --output submission.csv`.

The stages of a prediction are in `reward_model/cli/predict.py`; the same command is `arena-reward predict`.
"""

import sys

from reward_model.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
