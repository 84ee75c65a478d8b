"""Flags of predict.py: what does not fit is refused in one line, before anything slow is imported."""

import pytest

from reward_model.cli.flags import duration, parse_flags

PLAIN = ["--model", "run", "--input", "battles.csv"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("8h", 28800), ("1h30m", 5400), ("0.5h", 1800), ("1d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    assert parse_flags([*PLAIN, "--time_limit", text]).time_limit == seconds


@pytest.mark.parametrize(
    ("flag", "value", "part"),
    [
        *[("--time_limit", text, "unit") for text in ("8", "90", "", "h", "8 hours", "1h 30m", "٣h")],
        ("--time_limit", "0s", "more than no time"),
        ("--max_length", "0", "at least 1"),
        ("--max_length", "1e3", "whole number"),
        ("--batch_tokens", "-4096", "at least 1"),
        ("--num_processes", "-3", "at least 1"),
        ("--num_processes", "0", "at least 1"),
        ("--audit_battles", "-1", "at least 0"),
        ("--calibration", "maybe", "invalid choice"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    flag: str, value: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_flags([*PLAIN, f"{flag}={value}"])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and flag in line and part in line


def test_no_audit_is_a_number_of_battles_too() -> None:
    assert parse_flags([*PLAIN, "--audit_battles", "0"]).audit_battles == 0
