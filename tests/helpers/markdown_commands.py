"""The commands that a page of Markdown gives, from its indented and fenced blocks, and what it says that they print."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^ *```(\w*)$")
_PROMPT = "$ "


@dataclass(frozen=True)
class Step:
    """language: "bash" or "python"; text: one command, or a whole block of Python; output: the lines that the page shows."""

    language: str
    text: str
    output: tuple[str, ...] = ()


def steps(markdown: str) -> list[Step]:
    """Every command of the page in its order.

    A line that begins with `$ ` is a command whose output follows. In a block without one, each line is a command. A
    backslash at the end of a line joins the next.
    """
    return [step for language, lines in _blocks(markdown) for step in _steps_of(language, lines)]


def _blocks(markdown: str) -> Iterator[tuple[str, list[str]]]:
    language, lines = "", list[str]()
    for line in [*markdown.splitlines(), "."]:
        fence = _FENCE.match(line)
        if fence:
            if language:
                yield language, lines
            language, lines = ("", []) if language else (fence[1] or "text", [])
        elif language or (line.startswith("    ") and (lines or not line[4:].startswith(" "))):
            lines.append(line if language else line[4:])
        elif lines:
            yield "bash", lines
            lines = []


def _steps_of(language: str, lines: list[str]) -> Iterator[Step]:
    if language == "python":
        yield Step("python", "\n".join(lines))
    if language not in ("bash", "sh"):
        return
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    if not any(line.startswith(_PROMPT) for line in joined):
        yield from (Step("bash", line) for line in joined if line.strip())
        return
    command, output = "", list[str]()
    for line in [*joined, _PROMPT]:
        if not line.startswith(_PROMPT):
            output.append(line)
            continue
        if command:
            yield Step("bash", command, tuple(output))
        command, output = line.removeprefix(_PROMPT), []
