"""Every command of the project: `arena-reward COMMAND …`, or `python -m reward_model COMMAND …`.

Each command is one module, imported only when it runs; its help is on file, so that it opens at once. Exit status: 0; 2 for
what a person has to mend, said in one line; 130 where the person stopped it; others as the command says.
"""

import importlib
import sys
from collections.abc import Sequence

from arena_data.arguments import suggestion
from reward_model import __version__
from reward_model.cli.console.commands import COMMANDS
from reward_model.cli.console.stored_help import stored_help
from reward_model.errors import MissingExtraError, named_extras


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
