"""Says what sways a judge besides content: `arena-reward audit MODEL --input labelled.csv`, on a card.

Position, length, formatting, self-promotion, language, and best of n under dress: which copy of one answer is picked when
the copies differ in Markdown, length and flattery only. MODEL is a run directory, a baseline, a blend or a wrapped stock
model. `--callable module:function` audits a Python function in its place, which takes battles and gives P(A), P(B), P(tie),
float [n, 3]; the module is imported as Python would, the working directory first.

The card is written as audit.json and audit.html beside the model, or to --output_dir. `export` and `push` read it with
--max_sway. Battles need verdicts: what sways people is shown beside.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_data.arguments import CommandParser
from arena_data.containers.limit_flags import add_limit_flag, limits_of
from arena_data.errors import InputError
from arena_data.file_io import check_folder, check_output
from arena_data.loading import load_battles, local_files
from reward_model.cli.flags import command_parser, loading_of, parse_command, whole_number
from reward_model.run_directory.settings import AUDIT, AUDIT_PAGE

if TYPE_CHECKING:
    import datasets

    from reward_model.audit.audit import Figures


def parser() -> CommandParser:
    command = command_parser("audit", __doc__)
    add = command.add_argument
    add("model", nargs="?", metavar="MODEL", help="run, baseline or blend directory, or one that wraps a stock model")
    add("--callable", metavar="MODULE:FUNCTION", help="a Python function to audit in the place of MODEL")
    add("--input", nargs="+", required=True, metavar="F", help="labelled battles: files, globs or Hub ids")
    add("--output_dir", metavar="D", help="folder to write audit.json and audit.html to (default: MODEL's own)")
    add(
        "--max_battles",
        type=whole_number(1),
        default=500,
        metavar="N",
        help="try each change on at most so many battles",
    )
    add_limit_flag(command)
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status. Raises: InputError or ModelError, one line."""
    command = parser()
    options = parse_command(command, arguments)
    if (options.model is None) == (options.callable is None):
        command.error("give MODEL, or --callable MODULE:FUNCTION")
    if options.model is None and options.output_dir is None:
        command.error("--callable needs --output_dir")
    if options.output_dir is None and not Path(options.model).is_dir():
        raise InputError("is no directory that a card could lie in", file=options.model, fix="give --output_dir")
    folder = check_folder(options.output_dir or options.model)
    for name in (AUDIT, AUDIT_PAGE):
        check_output(folder / name, *(file for source in options.input for file in local_files(source)))
    card = audited(options)

    from reward_model.audit.card import write_card
    from reward_model.report.audit_card import card_lines, write_card_page

    write_card(folder, card)
    write_card_page(folder / AUDIT_PAGE, card)
    print("\n".join([*card_lines(card), f"{folder / AUDIT}, {folder / AUDIT_PAGE}"]))
    return 0


def audited(options: argparse.Namespace) -> "Figures":
    """The card of what the flags name."""
    from reward_model.audit.audit import audit
    from reward_model.audit.card import card_of
    from reward_model.audit.judge import audit_judge

    if options.callable is not None:
        function = named_function(options.callable)
        battles = load_battles(options.input, labels="required", limits=limits_of(options.read_limits))
        figures = audit_judge(function, battles, options.max_battles, progress=True)
        return card_of(options.callable, None, figures, None)

    from reward_model.predict.member import Job, Member
    from reward_model.predict.open_member import FileMember, open_member
    from reward_model.predict.run_member import RunMember
    from reward_model.pretrained.judges import judge_folder

    member = open_member(options.model, loading_of(options, calibrated=True))
    if isinstance(member, FileMember):
        raise InputError(
            "holds answers to its own battles only", file=options.model, expected="a model that can be asked"
        )
    battles = load_battles(options.input, labels="required", limits=limits_of(options.read_limits))

    def of(judge: Member) -> Any:
        def predict(asked: "datasets.Dataset") -> Any:
            return judge.predict(Job(asked, progress=True)).log_probs

        return audit(battles, predict(battles), predict, options.max_battles)

    figures = of(member)
    closed = of(member.sharing(style=False)) if isinstance(member, RunMember) and member.has_style else None
    return card_of(member.name, judge_folder(options.model) or options.model, figures, closed)


def named_function(name: str) -> Any:
    """The function of `module:function`. Raises: InputError, one line, for one that is not there."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise InputError("not a function's name", found=name, expected="module:function")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` has it
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot be imported ({error})", found=name, expected="module:function") from error
    if not callable(function):
        raise InputError("is no function", found=name)
    return function
