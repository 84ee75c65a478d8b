"""Flags: none is abbreviated, errors are one line, every help names its default."""

from dataclasses import dataclass

import pytest

from arena_data.arguments import SEED, CommandParser, argument_texts, described, share, whole_number


@dataclass
class Options:
    """Two fields.

    Args:
        size, depth: how large it is,
            in metres.
        name: what it is called (default: nothing).
    """

    size: int = 1
    depth: int = 2
    name: str | None = None


def made() -> CommandParser:
    parser = CommandParser(prog="arena-reward x")
    parser.add_argument("--train_file", required=True, help="battles")
    parser.add_argument("--fold", type=int, default=0, help="which one, 100 % of it")
    parser.add_argument("--output", help="file to write (default: standard output)")
    parser.add_argument("--fast", action="store_true", help="hurry")
    return parser


@pytest.mark.parametrize(
    "given", [["--train_fil", "x"], ["--train_fil=x"], ["--train_file", "x", "--train_files", "y"]]
)
def test_an_abbreviated_or_mistyped_flag_is_refused_in_one_line(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        made().parse_args(given)
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == 1
    assert lines[0].startswith("error: unknown flag --train_fil") and "(did you mean --train_file?)" in lines[0]
    assert lines[0].endswith("see arena-reward x --help")


def test_values_that_look_like_flags_and_what_follows_two_hyphens_are_left_alone() -> None:
    parser = made()
    parser.add_argument("rest", nargs="*", help="more")
    assert parser.parse_args(["--train_file", "--not a flag", "--", "--nor_this"]).rest == ["--nor_this"]


def test_what_is_left_over_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        made().parse_args(["--train_file", "x", "stray"])
    assert capsys.readouterr().err.startswith("error: not understood: stray")


def test_defaults_are_said_once() -> None:
    texts = {action.dest: described(action) for action in made()._actions}
    assert texts["train_file"] == ("battles", "")
    assert texts["fold"] == ("which one, 100 % of it", "0")
    assert texts["output"] == ("file to write", "standard output")
    assert texts["fast"] == ("hurry", "off")
    shown = " ".join(made().format_help().split())
    assert "which one, 100 % of it (default: 0)" in shown and shown.count("standard output") == 1


def test_a_dataclass_explains_its_fields_in_its_docstring() -> None:
    text = "how large it is, in metres"
    assert argument_texts(Options) == {"size": text, "depth": text, "name": "what it is called (default: nothing)"}


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *[("--count", text) for text in ("-1", "0", "8", "1.5", "1e3", "٣", "", "99999999999999999999")],
        *[("--seed", text) for text in ("-1", "4294967296", "x")],
        *[("--share", text) for text in ("-0.1", "1.01", "nan", "inf", "x")],
    ],
)
def test_a_number_out_of_its_bounds_is_refused_in_one_line(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = CommandParser(prog="arena-reward try")
    command.add_argument("--count", type=whole_number(1, 7))
    command.add_argument("--seed", type=SEED)
    command.add_argument("--share", type=share)
    good = command.parse_args(["--count", "7", "--seed", "0", "--share", "0.25"])
    assert (good.count, good.seed, good.share) == (7, 0, 0.25)
    with pytest.raises(SystemExit) as ended:
        command.parse_args([f"{flag}={value}"])
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and flag in line and "expected a" in line
