"""What a turn's markup and signs tell: lists, headings, tables, code, bold, question marks, emoji.

Patterns are possessive or bounded, so they take time linear in the text.
"""

import re
from collections import Counter

from arena_data.style.words import EMOJI

_BULLETS = frozenset("-*+•‣◦▪●○–·・")
_TIGHT_BULLETS = frozenset("•▪●・")
_NUMBERED = re.compile(
    r"[(（]?(?:\d{1,3}(?:[.)](?=[\s*_])|[、．）])|[a-zA-Z]\)(?=\s)|[一二三四五六七八九十]{1,3}[、．.)）])|[①-⑳]"
)
_HEADING = re.compile(r"#{1,6}[ \t]")
_BOLD = re.compile(r"\*\*(?=\S)[^*\n]++\*\*|<(?:b|strong)>", re.IGNORECASE)
_INLINE_CODE = re.compile(r"(`++)[^`\n]++\1")
_QUESTIONS = "?？؟՞⁇"
_EXCLAMATIONS = "!！‼"


def count_markup(turn: str, counts: Counter[str]) -> None:
    """Adds what is in a turn to `counts`; all but emoji outside code blocks."""
    prose = _count_lines(turn, counts)
    counts["bold"] += sum(1 for _ in _BOLD.finditer(prose)) if "**" in prose or "<" in prose else 0
    counts["inline_code"] += sum(1 for _ in _INLINE_CODE.finditer(prose)) if "`" in prose else 0
    if turn.isascii():
        counts["questions"] += prose.count("?")
        counts["exclamations"] += prose.count("!")
    else:
        counts["questions"] += sum(map(prose.count, _QUESTIONS))
        counts["exclamations"] += sum(map(prose.count, _EXCLAMATIONS))
        counts["emoji"] += sum(1 for _ in EMOJI.finditer(turn))


def _count_lines(turn: str, counts: Counter[str]) -> str:
    """Count what a line's beginning tells into `counts`; return the text outside code blocks."""
    prose: list[str] = []
    fence = ""
    for line in turn.splitlines():
        line = line.strip()
        if not line:
            continue
        counts["lines"] += 1
        marker = line[:3]
        if marker in ("```", "~~~") and fence in ("", marker):
            counts["code_blocks"] += not fence
            # A fence that closes on its own line (```x = 1```) leaves nothing open.
            fence = "" if fence or marker in line[3:] else marker
        elif fence:
            counts["code_lines"] += 1
        else:
            prose.append(line)
            first, second = line[0], line[1:2]
            if first in _BULLETS and (second.isspace() or (second and first in _TIGHT_BULLETS)):
                counts["bullets"] += 1
            elif first == "#":
                counts["headings"] += _HEADING.match(line) is not None
            elif "|" in line and "-" in line and not line.strip("|-: \t"):
                # Every table has one row of dashes, under its header.
                counts["tables"] += 1
            else:
                counts["numbered"] += _NUMBERED.match(line) is not None
    counts["prose_lines"] += len(prose)
    counts["repeated_lines"] += len(prose) - len(set(prose))
    return "\n".join(prose)
