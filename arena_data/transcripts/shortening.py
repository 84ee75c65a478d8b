"""Cuts the texts of a conversation down to a number of tokens; each cut leaves a mark that says what went.

The idea: text is cut at the character offsets of its tokens, never within a grapheme, and the gap is filled with
"[… 512 tokens k7q2x …]": how many tokens went, and 25 bits of their hash. The latest turn is kept first, older ones
share what it leaves, and the rest are dropped behind one mark at the start. What a cut really costs is known only once
the result is rendered and counted again, so `shrink` tries again with less room until it fits.

Who gets how much of a budget is decided in `arena_data.transcripts.truncation`.
"""

import base64
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import regex

Keep = Literal["both", "head", "tail"]
# Character spans of the tokens of one plain text, without special tokens.
Offsets = Callable[[str], Sequence[tuple[int, int]]]

MARK = regex.compile(r"\[… (?P<tokens>\d+) tokens (?P<checksum>[a-z2-7]{5}) …\]")
# Kept of any text that is cut, so that a head and a tail of it are always there to read.
MIN_KEPT = 8
# Checksums and a length that tokenizers find hard to merge: what a mark costs at worst is measured on them.
_AWKWARD_MARKS = tuple(f" [… 738294 tokens {checksum} …] " for checksum in ("q7x3z", "7z2q5", "zqxjk", "w4vv6"))
# A grapheme longer than this many characters is not text, and may be cut.
_GRAPHEME_WINDOW = 128


@dataclass(frozen=True)
class Piece:
    """One text with the character spans of its tokens."""

    text: str
    spans: Sequence[tuple[int, int]]

    @property
    def tokens(self) -> int:
        return len(self.spans)


_Result = TypeVar("_Result")
_Round = tuple[Piece, ...]  # the pieces of one turn: (prompt, response), or one alone
_Shortened = tuple[list[list[str]], list[int]]  # per part: its turns, and the tokens cut from them


@dataclass(frozen=True)
class Rules:
    """What shortening needs to know besides the texts. `mark`, `per_turn`: what one costs at worst, in tokens."""

    offsets: Offsets
    mark: int
    per_turn: int
    prompt_share: float
    keep: Keep

    def pieces(self, turns: Sequence[str]) -> list[Piece]:
        return [Piece(text, self.offsets(text)) for text in turns]

    def smallest(self, parts: int) -> int:
        """Room in which every one of so many parts can be brought down to a mark with a little text around it."""
        return self.per_turn + parts * (self.mark + MIN_KEPT)

    def shorten(self, rounds: Sequence[_Round], room: int) -> _Shortened:
        """Rounds, oldest first, within about `room` tokens: latest whole while they fit, one cut, older dropped."""
        parts = len(rounds[0])
        through, total = [], 0
        for pieces in rounds:
            total += self.per_turn + sum(piece.tokens for piece in pieces)
            through.append(total)
        kept: list[list[str]] = []
        for i in reversed(range(len(rounds))):
            if through[i] <= room:
                kept[:0] = [[piece.text for piece in pieces] for pieces in rounds[: i + 1]]
                return _columns(kept), [0] * parts
            # Whatever is older than this turn may have to be dropped, and its mark needs its place.
            needs = [piece.tokens + (self.mark if i else 0) for piece in rounds[i]]
            if i and self.per_turn + sum(needs) <= room:
                kept.insert(0, [piece.text for piece in rounds[i]])
                room -= self.per_turn + sum(piece.tokens for piece in rounds[i])
                continue
            dropped = rounds[:i]
            if kept and room < self.smallest(parts) + parts * self.mark:
                dropped = rounds[: i + 1]
                first = [f"{_mark(*_dropped(dropped, part))}\n{kept[0][part]}" for part in range(parts)]
                return _columns([first, *kept[1:]]), [_dropped(dropped, part)[1] for part in range(parts)]
            rooms = self._split(room - self.per_turn, needs, self.mark * (2 if i else 1) + MIN_KEPT)
            cut = [self._cut_turn(rounds[i][part], rooms[part], *_dropped(dropped, part)) for part in range(parts)]
            return _columns([[text for text, _ in cut], *kept]), [tokens for _, tokens in cut]
        raise AssertionError("the loop returns at the oldest round")

    def _split(self, room: int, needs: list[int], least: int) -> list[int]:
        """Room for each piece of a turn: the prompt is sure of its share, what one does not need goes to the other.

        Where the room allows it, each is sure of `least` tokens too, which its marks and a little text take.
        """
        if len(needs) == 1:
            return [room]
        least = min(least, room // 2)
        sure = min(max(int(self.prompt_share * room), least), room - least)
        response = min(needs[1], room - min(needs[0], sure))
        return [room - response, response]

    def _cut_turn(self, piece: Piece, room: int, dropped: str, dropped_tokens: int) -> tuple[str, int]:
        """A piece within `room` tokens, behind the mark of what was dropped before it ("" if nothing); tokens cut."""
        if not dropped:
            return (piece.text, 0) if piece.tokens <= room else self._cut(piece, room - self.mark, "", 0)
        start = f"{_mark(dropped, dropped_tokens)}\n"
        if piece.tokens + self.mark <= room:
            return start + piece.text, dropped_tokens
        if room >= 2 * self.mark + MIN_KEPT:
            text, tokens = self._cut(piece, room - 2 * self.mark, "", 0)
            return start + text, dropped_tokens + tokens
        # No place for two marks: one stands for all that is gone.
        return self._cut(piece, room - self.mark, dropped, dropped_tokens)

    def _cut(self, piece: Piece, kept: int, dropped: str, dropped_tokens: int) -> tuple[str, int]:
        """Head and tail of a piece, `kept` tokens together, around a mark for the rest and what was dropped."""
        text, spans = piece.text, piece.spans
        kept = max(kept, 0)
        tail = {"both": kept // 2, "head": 0, "tail": kept}[self.keep]
        head, tail = kept - tail, len(spans) - tail
        # Tokens that are parts of one character share its span: step off them, so no character is halved or doubled.
        while 0 < head < len(spans) and spans[head][0] < spans[head - 1][1]:
            head -= 1
        while 0 < tail < len(spans) and spans[tail][0] < spans[tail - 1][1]:
            tail += 1
        begin = _grapheme_boundary(text, spans[head - 1][1], before=True) if head else 0
        end = _grapheme_boundary(text, spans[tail][0], before=False) if tail < len(spans) else len(text)
        if begin >= end:
            return (f"{_mark(dropped, dropped_tokens)}\n{text}" if dropped else text), dropped_tokens
        tokens = dropped_tokens + bisect_left(spans, (end,)) - bisect_left(spans, (begin,))
        mark = _mark(dropped + text[begin:end], tokens)
        return " ".join(part for part in (text[:begin], mark, text[end:]) if part), tokens


def shrink(
    attempt: Callable[[int], _Result], excess: Callable[[_Result], int], room: int, floor: int
) -> tuple[_Result, int]:
    """The first attempt with no excess as the room shrinks, by ever longer steps, down to `floor`; and its excess."""
    step = 1
    while True:
        result = attempt(room)
        over = excess(result)
        if over <= 0 or room <= floor:
            return result, over
        room = max(room - max(over, step), floor)
        step *= 2


def _columns(rounds: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(part) for part in zip(*rounds, strict=True)]


def _dropped(rounds: Sequence[_Round], part: int) -> tuple[str, int]:
    """One part of some turns as one text, lengths included so that turns cannot run together, and its tokens."""
    pieces = [pieces[part] for pieces in rounds]
    return "".join(f"{len(piece.text)}:{piece.text}" for piece in pieces), sum(piece.tokens for piece in pieces)


def _mark(cut: str, tokens: int) -> str:
    digest = hashlib.blake2b(cut.encode("utf-8"), digest_size=5).digest()
    return f"[… {tokens} tokens {base64.b32encode(digest).decode().lower()[:5]} …]"


def mark_cost(offsets: Offsets) -> int:
    """Tokens that a mark takes at worst."""
    return max(len(offsets(mark)) for mark in _AWKWARD_MARKS)


def _grapheme_boundary(text: str, position: int, *, before: bool) -> int:
    """The nearest grapheme boundary at or before (else at or after) a position, or the position if none is near."""
    start = max(position - _GRAPHEME_WINDOW, 0)
    # Flags are pairs of regional indicators, told apart by their parity alone: begin the window with a whole one.
    run = start
    while run > 0 and "\U0001f1e6" <= text[run - 1] <= "\U0001f1ff":
        run -= 1
    start -= (start - run) % 2
    boundaries = [start + m.end() for m in regex.finditer(r"\X", text[start : position + _GRAPHEME_WINDOW])]
    if before:
        return max((b for b in (0, *boundaries) if start < b <= position or b == start == 0), default=position)
    return min((b for b in boundaries if b >= position), default=position)
