"""A run directory to the Hub: `arena-reward push runs/minilm --repo user/name --base_model user/backbone`."""

from collections.abc import Sequence
from typing import Any

from arena_data.arguments import CommandParser
from arena_data.file_io import read_json
from reward_model.audit.card import check_sway
from reward_model.calibration.calibration import Calibration
from reward_model.publish.push import push_run
from reward_model.run_directory.card_sections import bias_section, calibration_section
from reward_model.run_directory.model_card import CardDetails


def parser() -> CommandParser:
    command = CommandParser(prog="arena-reward push", description=__doc__.splitlines()[0])
    add = command.add_argument
    add("directory", metavar="D", help="run directory")
    add("--repo", required=True, metavar="USER/NAME", help="repository to push to; a missing one is created")
    add("--private", action="store_true", help="make a new repository private")
    add("--revision", metavar="BRANCH", help="branch to push to; a missing one is created (default: main)")
    add(
        "--base_model",
        metavar="USER/NAME",
        help="Hub id of the backbone, needed where training read it from a directory (default: the run's)",
    )
    add(
        "--dataset", nargs="+", default=[], metavar="USER/NAME", help="Hub ids of the training data, for the model card"
    )
    add("--license", metavar="ID", help="licence for the model card, such as apache-2.0")
    add("--report", metavar="F", help="output of `predict --json`, for the model card's calibration and bias")
    add(
        "--max_sway",
        type=float,
        metavar="X",
        help="refuse a run whose audit shows a larger effect of dress or position, in win share",
    )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status; errors are raised."""
    options = parser().parse_args(arguments)
    if options.max_sway is not None:
        check_sway(options.directory, options.max_sway, style=True)
    report: Any = read_json(options.report, _report) if options.report else None
    details = CardDetails(datasets=tuple(options.dataset), license=options.license, report=report)
    address = push_run(
        options.directory,
        options.repo,
        private=options.private,
        revision=options.revision,
        base_model=options.base_model,
        details=details,
    )
    print(address)
    return 0


def _report(content: Any) -> Any:
    needed = {"battles", "quality", "calibration", "audit"}
    if not isinstance(content, dict) or (missing := needed - set(content)):
        raise ValueError(f"no report: {', '.join(sorted(missing)) if isinstance(content, dict) else 'not an object'}")
    # What of it cannot be shown is said now, before anything is pushed.
    try:
        calibration_section(Calibration(), content, [])
        bias_section(content, [])
    except (AttributeError, IndexError) as error:
        raise ValueError(f"no report: {error}") from error
    return content
