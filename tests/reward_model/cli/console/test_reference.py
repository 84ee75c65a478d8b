"""The reference, the help on file and the completion say what the parsers say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from reward_model.cli.console.commands import COMMANDS
from reward_model.cli.console.completion import bash, fish, names_of, zsh
from reward_model.cli.console.reference import PAGE, all_commands, as_json, as_page
from reward_model.cli.console.stored_help import FILE, Command, flag_help, stored_commands

ROOT = Path(__file__).parents[4]
STALE = "stale: run python -m reward_model.cli.console.reference"


@pytest.fixture(scope="module")
def commands() -> dict[str, Command]:
    return all_commands()


def test_what_is_on_file_is_what_the_parsers_say(commands: dict[str, Command]) -> None:
    assert (ROOT / "reward_model" / "cli" / "console" / FILE).read_text(encoding="utf-8") == as_json(commands), STALE
    assert (ROOT / PAGE).read_text(encoding="utf-8") == as_page(commands), STALE


def test_every_flag_of_every_command_has_a_help_and_a_default(commands: dict[str, Command]) -> None:
    for name, command in commands.items():
        for flag in (flag for group in command["groups"] for flag in group["flags"]):
            assert flag["help"] and flag["help"] != "None", (name, flag)
            needed = any(part in command["usage"] for part in flag["names"]) or "must" in flag["help"]
            assert flag["default"] or needed or flag["names"] == ["--model_name_or_path"], (name, flag)


def test_nothing_of_this_machine_is_in_it(commands: dict[str, Command]) -> None:
    text = as_json(commands)
    assert str(ROOT) not in text and str(Path.home()) + "/" not in text


def test_a_flag_that_switches_something_off_stands_beside_the_one_that_switches_it_on() -> None:
    [style] = [f for g in stored_commands()["train"]["groups"] for f in g["flags"] if "--style" in f["names"]]
    assert style["names"] == ["--style", "--no_style"] and style["default"] == "on"


def test_help_keeps_to_the_width() -> None:
    flags = [flag for command in stored_commands().values() for group in command["groups"] for flag in group["flags"]]
    text = [line for flag in flags for line in flag_help(flag, 80).splitlines() if " " in line.strip()]
    assert len(flags) > 200 and max(map(len, text)) <= 100


BASH = shutil.which("bash")


def completed(line: str) -> set[str]:
    """What bash completes at the end of a line."""
    words = line.split(" ")
    asked = " ".join(f"'{word}'" for word in words)
    code = f'COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}; _arena_reward; echo "${{COMPREPLY[*]}}"'
    done = subprocess.run([str(BASH), "-c", bash(stored_commands()) + code], capture_output=True, text=True, check=True)
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(BASH is None, reason="no bash")
def test_bash_completes_commands_flags_and_names() -> None:
    assert completed("arena-reward ") >= set(COMMANDS)
    assert completed("arena-reward pre") == {"predict"}
    assert completed("arena-reward train --train_f") == {"--train_file"}
    assert completed("arena-reward predict --style ") == {"on", "off"}
    assert completed("arena-reward completion ") == {"bash", "zsh", "fish"}
    assert completed("arena-reward predict --input ") == set()  # files, by bash itself
    assert completed("arena-reward blend --") == {n for n in names_of(stored_commands()["blend"]) if n.startswith("--")}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_read_their_script(shell: str, tmp_path: Path) -> None:
    script = {"zsh": zsh, "fish": fish}[shell](stored_commands())
    for name, command in stored_commands().items():
        assert name in script and all(word.lstrip("-") in script for word in names_of(command)[:-1])
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell}")
    (tmp_path / "script").write_text(script)
    subprocess.run([path, "-n", str(tmp_path / "script")], check=True)
