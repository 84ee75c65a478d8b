"""Prints a script that completes commands and their flags: `arena-reward completion bash`.

    arena-reward completion bash > ~/.local/share/bash-completion/completions/arena-reward
    arena-reward completion zsh > "${fpath[1]}/_arena-reward"
    arena-reward completion fish > ~/.config/fish/completions/arena-reward.fish

The script is static: it holds every flag, and starts no Python. Where a flag takes one of a few names it completes those,
and files elsewhere.
"""

import sys
from collections.abc import Sequence

from arena_data.arguments import CommandParser
from reward_model.cli.console.stored_help import Command, Flag, stored_commands


def parser() -> CommandParser:
    head, _, rest = (__doc__ or "").partition("\n")
    command = CommandParser(prog="arena-reward completion", description=head, epilog=rest)
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the script."""
    shell = parser().parse_args(arguments).shell
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[shell](stored_commands()))
    return 0


def options(command: Command) -> list[Flag]:
    """A command's flags, without positional arguments; each name once, as several kinds of baseline share some."""
    flags = [flag for group in command["groups"] for flag in group["flags"] if flag["names"][0].startswith("-")]
    return list({flag["names"][0]: flag for flag in flags}.values())


def words_after(commands: dict[str, Command]) -> list[tuple[str, str]]:
    """(command and the word before, the words that may follow): names of flags' values and of positional arguments."""
    after = []
    for name, command in commands.items():
        for flag in (flag for group in command["groups"] for flag in group["flags"] if flag["choices"]):
            before = flag["names"] if flag["names"][0].startswith("-") else [name]
            after += [(f"{name} {word}", " ".join(flag["choices"])) for word in before]
    return list(dict.fromkeys(after))


def names_of(command: Command) -> list[str]:
    return [*(name for flag in options(command) for name in flag["names"]), "--help"]


def bash(commands: dict[str, Command]) -> str:
    values = "\n".join(f'        "{before}") words="{words}" ;;' for before, words in words_after(commands))
    flags = "\n".join(f'        {name}) words="{" ".join(names_of(command))}" ;;' for name, command in commands.items())
    return f"""# bash completion of arena-reward
_arena_reward() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD - 1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{" ".join(commands)} --help --version"
    else
        case "${{COMP_WORDS[1]}} $before" in
{values}
        esac
        if [[ "$current" == -* ]]; then
            case "${{COMP_WORDS[1]}}" in
{flags}
            esac
        fi
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _arena_reward arena-reward
"""


def zsh(commands: dict[str, Command]) -> str:
    values = "\n".join(
        f"        {quoted(before)}) compadd -- {words}; return ;;" for before, words in words_after(commands)
    )
    lines = []
    for name, command in commands.items():
        described = [quoted(f"{word}:{short(flag)}") for flag in options(command) for word in flag["names"]]
        lines.append(f"        {name}) flags=({' '.join(described)}) ;;")
    flags = "\n".join(lines)
    summaries = " ".join(quoted(f"{name}:{command['summary']}") for name, command in commands.items())
    return f"""#compdef arena-reward
_arena_reward() {{
    local -a commands flags
    if (( CURRENT == 2 )); then
        commands=({summaries})
        _describe command commands
        return
    fi
    case "$words[2] $words[CURRENT-1]" in
{values}
    esac
    case "$words[2]" in
{flags}
    esac
    if [[ "$PREFIX" == -* ]]; then
        _describe -o flag flags
    else
        _files
    fi
}}
compdef _arena_reward arena-reward
"""


def fish(commands: dict[str, Command]) -> str:
    lines = ["# fish completion of arena-reward"]
    for name, command in commands.items():
        lines.append(
            f"complete -c arena-reward -f -n __fish_use_subcommand -a {name} -d {fish_quoted(command['summary'])}"
        )
        start = f"complete -c arena-reward -n '__fish_seen_subcommand_from {name}'"
        for flag in options(command):
            for word in flag["names"]:
                choices = f" -x -a {fish_quoted(' '.join(flag['choices']))}" if flag["choices"] else ""
                value = " -r" if flag["value"] and not flag["value"].startswith("[") and not choices else ""
                lines.append(f"{start} -l {word.lstrip('-')}{choices}{value} -d {fish_quoted(short(flag))}")
    for before, words in words_after(commands):
        name, word = before.split(" ")
        if name == word:
            lines.append(f"complete -c arena-reward -f -n '__fish_seen_subcommand_from {name}' -a {fish_quoted(words)}")
    return "\n".join(lines) + "\n"


def short(flag: Flag) -> str:
    """The first words of a flag's help, for one line."""
    text = flag["help"].split(". ")[0]
    return text if len(text) <= 70 else f"{text[:69]}…"


def quoted(text: str) -> str:
    """In single quotes for zsh, one colon apart."""
    head, colon, rest = text.partition(":")
    inner = head + colon + rest.replace(":", "\\:")
    return "'" + inner.replace("'", "'\\''") + "'"


def fish_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
